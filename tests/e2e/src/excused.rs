//! Committed lists of what is allowed though no story does it: the thing, `#`, and the reason.

use std::collections::BTreeMap;

/// Each with its reason. Lines that begin with `#` are comments.
pub(crate) fn excused(list: &str) -> Result<BTreeMap<String, String>, String> {
    let mut excused = BTreeMap::new();
    for (number, line) in list.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#')) {
        let parts = line.split_once('#').map(|(what, reason)| (what.trim(), reason.trim()));
        match parts {
            Some((what, reason)) if !reason.is_empty() => excused.insert(what.to_owned(), reason.to_owned()),
            _ => return Err(format!("line {}: expected WHAT # REASON", number + 1)),
        };
    }
    Ok(excused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_excuse_needs_a_reason() {
        assert_eq!(
            excused("# why\n\nc get pods # now and then\n").unwrap().into_iter().next().unwrap(),
            ("c get pods".to_owned(), "now and then".to_owned())
        );
        assert!(excused("c get pods\n").is_err());
        assert!(excused("c get pods #\n").is_err());
    }
}
