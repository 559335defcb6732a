//! Characters worth trying: those of labels, those with a meaning in patterns, and those that surprise.

use crate::random::Random;

const PLAIN: &str = "aaabbcdxyzABXYZ0123459__--..//::;;,= @";

/// Ends of lines and texts, controls, separators, and what comes at the ends of encoding lengths.
const ODD: &str = "\n\n\n\r\t\u{b}\u{c}\0\u{7f}\u{85}\u{a0}\u{2028}\u{feff}\u{200d}\u{300}\u{fffd}\u{ffff}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{10000}\u{10ffff}😀中٣Ⅷ";

/// Characters that are equal but for case. Most have more than two members, or members of different lengths.
const ORBITS: [&str; 19] = [
    "kK\u{212a}",
    "sSſ",
    "åÅ\u{212b}",
    "µμΜ",
    "θΘϑϴ",
    "ωΩ\u{2126}",
    "ßẞ",
    "σςΣ",
    "ǆǅǄ",
    "ιΙ\u{345}\u{1fbe}",
    "вВ\u{1c80}",
    "iI",
    "ı",
    "İ",
    "éÉ",
    "ṡṠẛ",
    "\u{10400}\u{10428}",
    "\u{13a0}\u{ab70}",
    "\u{10d0}\u{1c90}",
];

/// Scripts with case, letters beyond the BMP, and others; all of them known to Unicode 15.
const BLOCKS: [(u32, u32); 9] = [
    (0x20, 0x7e),
    (0xa0, 0x17f),
    (0x3b1, 0x3c9),
    (0x400, 0x45f),
    (0x13a0, 0x13f5),
    (0x1e00, 0x1eff),
    (0x1f00, 0x1f15),
    (0x4e00, 0x4e20),
    (0x10400, 0x1044f),
];

/// A character: plain ones are as likely as all others together.
pub(crate) fn any(random: &mut Random) -> char {
    match random.below(8) {
        0 => random.char_of(ODD),
        1 | 2 => {
            let orbit = *random.pick(&ORBITS);
            random.char_of(orbit)
        }
        3 => {
            let (low, high) = *random.pick(&BLOCKS);
            let code = random.below((high - low + 1) as usize) as u32;
            char::from_u32(low + code).unwrap_or('a')
        }
        _ => plain(random),
    }
}

/// A character of the usual kind.
pub(crate) fn plain(random: &mut Random) -> char {
    random.char_of(PLAIN)
}

/// A character that is `c` but for case, if there is one.
pub(crate) fn other_case(c: char, random: &mut Random) -> char {
    if let Some(orbit) = ORBITS.iter().find(|orbit| orbit.contains(c)) {
        return random.char_of(orbit);
    }
    let mut other = if c.is_lowercase() { c.to_uppercase().collect::<Vec<_>>() } else { c.to_lowercase().collect() };
    if other.len() == 1 { other.remove(0) } else { c }
}

/// A text of up to so many characters.
pub(crate) fn text(random: &mut Random, longest: usize) -> String {
    let length = random.between(0, longest);
    (0..length).map(|_| any(random)).collect()
}

/// `text` with up to three characters changed, removed or added.
pub(crate) fn mutated(text: &str, random: &mut Random) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..random.between(1, 3) {
        let at = random.below(chars.len() + 1);
        match random.below(5) {
            0 if at < chars.len() => chars[at] = any(random),
            1 if at < chars.len() => chars[at] = other_case(chars[at], random),
            2 if at < chars.len() => drop(chars.remove(at)),
            3 => {
                let end = (at + random.between(0, 4)).min(chars.len());
                let copy: Vec<char> = chars[at..end].to_vec();
                chars.splice(at..at, copy);
            }
            _ => chars.insert(at, any(random)),
        }
    }
    chars.into_iter().collect()
}
