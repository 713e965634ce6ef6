//! Patterns as people write them: `*` stands for anything within a segment, `**` for anything, `\` before a character
//! for that character.

/// A pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Glob {
    steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Letter(char),
    /// Anything but a slash.
    Within,
    /// Anything.
    Any,
}

impl Glob {
    /// From its text.
    pub(crate) fn new(text: &str) -> Glob {
        let (mut steps, mut letters) = (Vec::new(), text.chars().peekable());
        while let Some(letter) = letters.next() {
            steps.push(match letter {
                '\\' => Step::Letter(letters.next().unwrap_or('\\')),
                '*' if letters.next_if_eq(&'*').is_some() => Step::Any,
                '*' => Step::Within,
                letter => Step::Letter(letter),
            });
        }
        Glob { steps }
    }

    /// For paths, from a template as the inventory tells it: `{id}` is one segment, `{rest}` all that follows.
    pub(crate) fn of_template(text: &str) -> Glob {
        Glob::new(&text.replace("{rest}", "**").replace("{id}", "*"))
    }

    /// The only text that it fits, where there is but one.
    pub(crate) fn literal(&self) -> Option<String> {
        let letter = |step: &Step| if let Step::Letter(letter) = step { Some(*letter) } else { None };
        self.steps.iter().map(letter).collect()
    }

    /// Whether it fits the whole of a text. Takes at most their lengths multiplied, and no time where the beginnings differ.
    pub(crate) fn fits(&self, text: &str) -> bool {
        let fixed = self.steps.iter().take_while(|step| matches!(step, Step::Letter(_))).count();
        let (begin, steps) = self.steps.split_at(fixed);
        let mut letters = text.chars();
        for step in begin {
            if letters.next().map(Step::Letter) != Some(*step) {
                return false;
            }
        }
        // Which of the steps may come next: those behind what stands for nothing too.
        let mut now = vec![false; steps.len() + 1];
        let open = |now: &mut [bool]| {
            for (place, step) in steps.iter().enumerate() {
                if !matches!(step, Step::Letter(_)) && now.get(place) == Some(&true) {
                    now[place + 1] = true; // as long as the steps, and one more
                }
            }
        };
        now[0] = true;
        open(&mut now);
        for letter in letters {
            let mut next = vec![false; now.len()];
            for (place, step) in steps.iter().enumerate().filter(|(place, _)| now[*place]) {
                match step {
                    Step::Letter(wanted) if *wanted == letter => next[place + 1] = true,
                    Step::Within if letter != '/' => next[place] = true,
                    Step::Any => next[place] = true,
                    _ => {}
                }
            }
            open(&mut next);
            if !next.contains(&true) {
                return false;
            }
            now = next;
        }
        now.last() == Some(&true)
    }
}

/// A text as a pattern that fits it alone.
pub(crate) fn escaped(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, '*' | '\\') {
            written.push('\\');
        }
        written.push(letter);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_what_they_say() {
        for (pattern, text, expected) in [
            ("shop", "shop", true),
            ("shop", "shops", false),
            ("", "", true),
            ("*", "shop.example", true),
            ("*", "a/b", false),
            ("**", "a/b", true),
            ("*.example", "a.b.example", true),
            ("/v1/*/items", "/v1/7/items", true),
            ("/v1/*/items", "/v1/7/8/items", false),
            ("/v1/**/items", "/v1/7/8/items", true),
            ("/v1/**", "/v1/", true),
            ("/v1/**", "/v1", false),
            ("a*a*a*a*b", &"a".repeat(2000), false),
            (r"\*", "*", true),
            (r"\*", "x", false),
            ("/{id}/x", "/{id}/x", true),
        ] {
            assert_eq!(Glob::new(pattern).fits(text), expected, "{pattern} {text}");
        }
        assert!(Glob::of_template("/v1/{id}/x").fits("/v1/4711/x"));
        assert!(!Glob::of_template("/v1/{id}").fits("/v1/4711/x"));
        assert!(Glob::of_template("/v1/{rest}").fits("/v1/4711/x"));
        assert_eq!(Glob::new("/{id}").literal().as_deref(), Some("/{id}"));
        assert_eq!(Glob::new("/*").literal(), None);
        let odd = r"a*b\c**";
        assert!(Glob::new(&escaped(odd)).fits(odd) && Glob::new(&escaped(odd)).literal().as_deref() == Some(odd));
    }
}
