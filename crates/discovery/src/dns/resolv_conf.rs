/// What of `resolv.conf` matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ResolvConf {
    /// As written; tried in order.
    pub(super) servers: Vec<String>,
    search: Vec<String>,
    ndots: usize,
}

impl ResolvConf {
    /// Takes what it understands; as with the system's own resolver, no line is an error.
    pub(super) fn parse(text: &str) -> Self {
        let mut conf = ResolvConf { servers: Vec::new(), search: Vec::new(), ndots: 1 };
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => conf.servers.extend(words.next().map(str::to_owned)),
                Some("domain") => conf.search = words.take(1).map(str::to_owned).collect(),
                Some("search") => conf.search = words.map(str::to_owned).collect(),
                Some("options") => {
                    for number in words.filter_map(|word| word.strip_prefix("ndots:")) {
                        conf.ndots = number.parse().unwrap_or(0).min(15);
                    }
                }
                _ => {}
            }
        }
        conf
    }

    /// The rooted names that `name` may stand for, in the order in which they are tried.
    pub(super) fn candidates(&self, name: &str) -> Vec<String> {
        if name.ends_with('.') {
            return vec![name.to_owned()];
        }
        let rooted = format!("{name}.");
        let under = |domain: &String| format!("{rooted}{}.", domain.trim_end_matches('.'));
        // The root itself as a search domain adds nothing.
        let mut names: Vec<String> = self.search.iter().filter(|domain| domain.as_str() != ".").map(under).collect();
        let dots = name.matches('.').count();
        names.insert(if dots >= self.ndots { 0 } else { names.len() }, rooted);
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files() {
        let text = "# comment\nnameserver 10.0.0.1\nnameserver\t::1 # second\ndomain old.example\nsearch a.example b.example.\noptions timeout:1 ndots:5 rotate\nsortlist x\n";
        let conf = ResolvConf::parse(text);
        assert_eq!(conf.servers, ["10.0.0.1", "::1"]);
        assert_eq!(conf.search, ["a.example", "b.example."]);
        assert_eq!(conf.ndots, 5);
        assert_eq!(ResolvConf::parse("search a\ndomain\n").search, Vec::<String>::new());
        assert_eq!(ResolvConf::parse("options ndots:99").ndots, 15);
        assert_eq!(ResolvConf::parse("options ndots:x").ndots, 0);
        assert_eq!(ResolvConf::parse("").ndots, 1);
    }

    #[test]
    fn names() {
        let conf = |ndots| ResolvConf { servers: vec![], search: vec!["a.b".to_owned(), ".".to_owned(), "c.".to_owned()], ndots };
        for (name, ndots, expected) in [
            ("x.", 1, &["x."] as &[_]),
            ("x", 1, &["x.a.b.", "x.c.", "x."]),
            ("x", 0, &["x.", "x.a.b.", "x.c."]),
            ("x.y", 1, &["x.y.", "x.y.a.b.", "x.y.c."]),
            ("x.y", 5, &["x.y.a.b.", "x.y.c.", "x.y."]),
        ] {
            assert_eq!(conf(ndots).candidates(name), expected, "{name} {ndots}");
        }
    }
}
