//! The rule files of this stage, and whether they do what their examples say.

use super::find::Window;
use super::tally::Tally;
use super::{Inspector, Rules, Settings, Side, credential, rules};
use crate::key::Key;
use crate::rules::{Listed, RuleError, RuleFile};

/// The examples in `rules/sensitive.toml` that the rules do not fulfil, and whatever else is wrong with the file.
pub(super) fn check(file: &RuleFile) -> Vec<RuleError> {
    let credentials = RuleFile::new(credential::FILE, credential::COMPILED_IN);
    let rules = match Rules::parse(file, &credentials, Default::default()) {
        Ok(rules) => rules,
        Err(errors) => return errors,
    };
    let inspector = Inspector::new(&rules, Settings::default(), Key::from_bytes([0; crate::key::KEY_BYTES]));
    let mut errors = Vec::new();
    for ((number, rule), (name, matches, rejects)) in (0u16..).zip(&rules.compiled.rules).zip(rules.examples()) {
        let side = if rule.sides.has(Side::Response) { Side::Response } else { Side::Request };
        let finds = |text: &str| {
            let mut tally = Tally::default();
            tally.spans = Some(Vec::new());
            let window = Window { bytes: text.as_bytes(), base: 0, open_left: false, open_right: false };
            inspector.finder(side).scan(&mut tally, &window, 0, text.len());
            tally.spans.is_some_and(|spans| spans.iter().any(|(found, _)| *found == number))
        };
        for (examples, wanted) in [(matches, true), (rejects, false)] {
            for example in examples.iter().filter(|example| finds(example.get_ref()) != wanted) {
                let does = if wanted { "does not match" } else { "matches" };
                let reason = format!("rule {name:?} {does} {:?}", example.get_ref());
                errors.push(file.error_at(example.span().start, reason));
            }
        }
    }
    errors
}

/// What is wrong with `rules/credentials.toml`.
fn check_credentials(file: &RuleFile) -> Vec<RuleError> {
    credential::CredentialRules::parse(file).err().into_iter().collect()
}

/// The files of this stage: name, compiled-in text, check, list.
pub(crate) const RULE_FILES: [crate::rules::Registered; 2] = [
    crate::rules::Registered { name: rules::FILE, compiled_in: rules::COMPILED_IN, check, list: rules::list },
    crate::rules::Registered {
        name: credential::FILE,
        compiled_in: credential::COMPILED_IN,
        check: check_credentials,
        list: list_credentials,
    },
];

fn list_credentials(file: &RuleFile) -> Result<Vec<Listed>, Vec<RuleError>> {
    credential::list(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compiled_in_rules_fulfil_their_examples() {
        let errors = crate::rules::check(None);
        assert!(errors.is_empty(), "{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
        let listed = crate::rules::list(None).expect("the files parse");
        assert!(listed.iter().any(|entry| entry.class == "payment_card"));
    }

    #[test]
    fn broken_rules_are_said_with_file_line_and_reason() {
        let check = |text: &str| {
            let errors = check(&RuleFile::new("mine.toml", text));
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let rule = |body: &str| format!("[[rule]]\nname = \"a\"\ndescription = \"\"\nleak = true\n{body}\n");
        assert_eq!(check(&rule("find = { byte = \"@\" }")), [""; 0]);
        let cases = [
            ("find = { literals = [\"abc\"] }\npattern = '('", "mine.toml:6: pattern: "),
            ("find = { byte = \"@\" }\nvalidator = \"lune\"", "mine.toml:6: unknown validator \"lune\""),
            (
                "find = { byte = \"@\" }\nmatches = [\n'a@b',\n'none']",
                "mine.toml:8: rule \"a\" does not match \"none\"",
            ),
            ("find = { byte = \"@\" }\nrejects = ['a@b']", "mine.toml:6: rule \"a\" matches \"a@b\""),
            ("find = { digits = [3, 5] }", "mine.toml:5: digits are"),
            ("find = { literals = [\"abc\"] }", "mine.toml:5: literals and fields need a pattern"),
            ("find = { byte = \"@\" }\ncolour = 1", "mine.toml:6: unknown field"),
            ("find = { byte = \"@\" }\nallow = \"b\"", "mine.toml:6: no earlier rule"),
            ("find = { byte = \"@\" }\nbefore = 'a'", "mine.toml:6: before is for literals"),
            ("find = { literals = [\"abc\"] }\npattern = 'a'\nbefore = '('", "mine.toml:7: before: "),
        ];
        for (body, wanted) in cases {
            let errors = check(&rule(body));
            assert!(errors.first().is_some_and(|error| error.starts_with(wanted)), "{wanted:?}: {errors:?}");
        }
        let twice = check(&(rule("find = { byte = \"@\" }") + &rule("find = { byte = \"@\" }")));
        assert!(twice[0].starts_with("mine.toml:7: a second rule"), "{twice:?}");
    }

    #[test]
    fn a_folder_replaces_file_by_file() {
        let folder = std::env::temp_dir().join(format!("apitap-rules-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        std::fs::write(folder.join("sensitve.toml"), "").expect("a file");
        let errors = crate::rules::check(Some(&folder));
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].to_string().contains("sensitve.toml: no such rule file"));
        std::fs::remove_file(folder.join("sensitve.toml")).expect("it is there");
        std::fs::write(folder.join("sensitive.toml"), "[[rule]]\nname = 1\n").expect("a file");
        assert_eq!(crate::rules::check(Some(&folder))[0].line, Some(2));
        assert!(Rules::load(Some(&folder)).is_err());
        std::fs::remove_dir_all(folder).expect("it is there");
    }

    #[test]
    fn every_pattern_that_is_compiled_in_is_an_expression() {
        // With a line more it is not the text that is trusted, and all of it is built.
        let text = format!("{}\n# built at once\n", rules::COMPILED_IN);
        let errors = check(&RuleFile::new("sensitive.toml", text));
        assert!(errors.is_empty(), "{errors:?}");
    }
}
