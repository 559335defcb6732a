//! Case mapping as Go's `strings.ToLower` and `ToUpper` do it: one character becomes one character.
//! The standard library's mapping of strings is the full one, in which ß becomes SS and a final Σ becomes ς.

/// `text` in lower case.
pub(crate) fn lowercase(text: &str) -> String {
    // İ is the only character with several in lower case, i and a dot above; the first of them is Go's answer.
    text.chars().map(|c| c.to_lowercase().next().unwrap_or(c)).collect()
}

/// `text` in upper case.
pub(crate) fn uppercase(text: &str) -> String {
    text.chars().map(upper).collect()
}

fn upper(c: char) -> char {
    match c {
        // Greek letters with iota subscript: two characters in upper case, one in title case, which Go takes.
        '\u{1F80}'..='\u{1F87}' | '\u{1F90}'..='\u{1F97}' | '\u{1FA0}'..='\u{1FA7}' => shifted(c, 8),
        '\u{1FB3}' | '\u{1FC3}' | '\u{1FF3}' => shifted(c, 9),
        _ => {
            let mut mapped = c.to_uppercase();
            if mapped.len() == 1 { mapped.next().unwrap_or(c) } else { c }
        }
    }
}

fn shifted(c: char, by: u32) -> char {
    char::from_u32(u32::from(c) + by).unwrap_or(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_character_becomes_one() {
        for (text, lower, upper) in [
            ("aZ9é", "az9é", "AZ9É"),
            ("İIıi", "iiıi", "İIII"),
            ("ΟΔΟΣ", "οδοσ", "ΟΔΟΣ"),
            ("ßŉǰﬁ", "ßŉǰﬁ", "ßŉǰﬁ"),
            ("ᾀᾗᾧᾳῃῳ", "ᾀᾗᾧᾳῃῳ", "ᾈᾟᾯᾼῌῼ"),
            ("Ǆǅǆ", "ǆǆǆ", "ǄǄǄ"),
        ] {
            assert_eq!(lowercase(text), lower, "{text}");
            assert_eq!(uppercase(text), upper, "{text}");
        }
    }

    #[test]
    fn no_text_grows() {
        let all: String = (char::MIN..=char::MAX).collect();
        assert_eq!(lowercase(&all).chars().count(), all.chars().count());
        assert_eq!(uppercase(&all).chars().count(), all.chars().count());
    }
}
