use std::cmp::Ordering;

/// Some texts in one piece of memory.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Texts {
    text: Box<str>,
    /// Where each of them ends.
    ends: Box<[u32]>,
}

impl Texts {
    /// These texts. Of more than 4 GiB only those that fit; nobody has such labels.
    pub(crate) fn of<'a>(texts: impl Iterator<Item = &'a str> + Clone) -> Self {
        let (count, bytes) = texts.clone().fold((0, 0), |(count, bytes), text| (count + 1, bytes + text.len()));
        let (mut all, mut ends) = (String::with_capacity(bytes), Vec::with_capacity(count));
        for text in texts {
            let Ok(end) = u32::try_from(all.len() + text.len()) else { break };
            all.push_str(text);
            ends.push(end);
        }
        Texts { text: all.into(), ends: ends.into() }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// One of them, which must be there.
    pub(crate) fn get(&self, index: usize) -> &str {
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        &self.text[start..self.ends[index] as usize]
    }

    /// Which of them it is, where they are sorted.
    pub(crate) fn position(&self, text: &str) -> Option<usize> {
        let (mut from, mut to) = (0, self.len());
        while from < to {
            let middle = from + (to - from) / 2;
            match self.get(middle).cmp(text) {
                Ordering::Equal => return Some(middle),
                Ordering::Less => from = middle + 1,
                Ordering::Greater => to = middle,
            }
        }
        None
    }
}
