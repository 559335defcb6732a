//! Whatever is written in a rule, it is refused or works.

use kvass_model::{Labels, LabelsBuilder, PrometheusLine};
use kvass_relabel::{GoRegex, NameScheme, RelabelConfig, Rule, process, trace};
use proptest::prelude::*;

/// Text rich in what has a meaning in patterns and templates.
fn syntax() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-cé١ \n]",
        r"[\\.+*?()|\[\]{}^$&~#:<>,=!_-]",
        r"\\[a-zA-Z0-9]",
        r"\(\?[imsUP:<-]{0,3}",
        r"\{[0-9]{0,4},?[0-9]?\}",
        r"\[\^?[a-c&\[:-]{0,4}\]?",
        r"\\[pP]\{?\^?(L|Lu|Greek|Cs|x)\}?",
        r"\$\{?[0-9a-b]{0,2}\}?",
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_pattern_is_refused_or_matches_without_panic(pattern in "\\PC*", text in "\\PC*") {
        if let Ok(regex) = GoRegex::unanchored(&pattern) {
            regex.is_match(&text);
        }
    }

    #[test]
    fn what_the_translator_accepts_the_crate_accepts(pattern in syntax(), text in "[a-cé\n-]{0,6}") {
        match GoRegex::unanchored(&pattern) {
            Ok(regex) => prop_assert_eq!(regex.as_str(), &pattern, "{}", regex.is_match(&text)),
            // A message of the crate itself would be about a pattern the user did not write.
            Err(error) => {
                let message = error.to_string();
                for reason in ["error", "repetition quantifier", "unclosed", "unrecognized", "not found", "must be"] {
                    prop_assert!(!message.replace(&format!("{pattern:?}"), "").contains(reason), "{}", message);
                }
            }
        }
    }

    #[test]
    fn escaped_text_matches_itself(text in "\\PC*", other in "\\PC*") {
        let escaped: String = text.chars().map(|c| format!("\\x{{{:x}}}", u32::from(c))).collect();
        let regex = GoRegex::anchored(&escaped, PrometheusLine::V3).unwrap();
        prop_assert!(regex.is_match(&text));
        prop_assert_eq!(regex.is_match(&other), text == other);
    }

    #[test]
    fn any_rule_is_refused_or_applied(
        regex in prop::option::of(syntax()),
        replacement in syntax(),
        target in prop_oneof![syntax(), Just("x".to_owned())],
        action in prop::sample::select(vec!["replace", "keep", "labelmap", "labelkeep", "lowercase", "hashmod"]),
        value in "[a-cé\n-]{0,6}",
    ) {
        let rule = Rule {
            source_labels: (action != "labelkeep").then(|| vec!["a".to_owned(), "b".to_owned()]),
            regex,
            modulus: (action == "hashmod").then_some(7),
            target_label: (action != "labelkeep").then_some(target),
            replacement: (action != "labelkeep" && action != "lowercase").then_some(replacement),
            action: Some(action.to_owned()),
            separator: None,
        };
        if let Ok(config) = RelabelConfig::new(rule, PrometheusLine::V3, NameScheme::Utf8) {
            let mut labels: LabelsBuilder = [("a", value.as_str()), ("c", "1")].into_iter().collect();
            let steps = trace(std::slice::from_ref(&config), &labels.clone().build());
            let keep = process(&[config], &mut labels);
            prop_assert!(labels.iter().all(|(_, value)| !value.is_empty()));
            prop_assert_eq!(steps[0].keep, keep);
            prop_assert_eq!(&steps[0].after, &if keep { labels.build() } else { Labels::default() });
        }
    }
}
