//! Patterns by Go's grammar and beyond it, and texts that they match.

use crate::{characters, random::Random};

/// A pattern as a tree: each part knows how it is written and what it matches, roughly.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    /// A character and how it is written.
    Character(char, String),
    /// One of these characters. Most classes have more than are listed.
    Class(Vec<char>, String),
    /// Matches nothing in between, as anchors and flags, or is no valid pattern at all.
    Bare(String),
    /// What opens it, what is in it.
    Group(String, Box<Node>),
    Sequence(Vec<Node>),
    Choice(Vec<Node>),
    /// What is repeated, the operator, the fewest and the most times worth trying.
    Repeat(Box<Node>, String, usize, usize),
}

/// Parts of rules as people write them.
const REALISTIC: [&str; 42] = [
    "(.*)",
    "(.+)",
    ".*",
    ".+",
    "true",
    "",
    "a|b",
    "|a",
    r"([^:]+)(?::\d+)?;(\d+)",
    r"(.+)(?::\d+);(\d+)",
    r"(\d+);(([A-Fa-f0-9]{1,4}::?){1,7}[A-Fa-f0-9]{1,4})",
    "__meta_kubernetes_pod_label_(.+)",
    "__meta_kubernetes_(?:pod|service)_label_(.+)",
    "__meta_kubernetes_(pod|service)_annotation_(.+)",
    "https?",
    "(https?)",
    "default;kubernetes;https",
    "(.*);(.*);(.*)",
    "([^;]+);(.*)",
    "kube_.*|node_.*",
    "(?:container|kube|node)_(.+)",
    r"(.*)\.example\.com(:\d+)?",
    "prometheus-(.*)",
    r"^(?:[a-z0-9]([-a-z0-9]*[a-z0-9])?\.)*[a-z]+$",
    "go_(gc|memstats)_.*",
    "(?i)PROD|staging",
    "(?i:web)-[0-9]+",
    r"(?P<host>[^:]+):(?P<port>\d+)",
    r"(?<name>\w+)-[0-9a-f]{8,10}-[a-z0-9]{5}",
    "..*",
    "(?s).*",
    "(?m)^a$",
    "(?-s).*",
    r"[\w.-]{1,255}",
    r"\d{1,3}(\.\d{1,3}){3}",
    r"(\w+)(?:/(\w+))?",
    "a)|(b",
    r"/(\w+)/metrics(\?.*)?",
    "(Pending|Succeeded|Failed|Completed)",
    "__param_(.*)|__scheme__",
    "(x)?foo(y)?",
    "([a-z]+)-([0-9]+)-.*",
];

/// Names in `\p{…}`: categories and scripts in several spellings, names of other dialects, names of nothing.
const PROPERTIES: [&str; 54] = [
    "L",
    "Lu",
    "Ll",
    "Lt",
    "Lm",
    "Lo",
    "LC",
    "M",
    "Mn",
    "N",
    "Nd",
    "Nl",
    "No",
    "P",
    "Pc",
    "Pd",
    "Po",
    "S",
    "Sm",
    "Z",
    "Zs",
    "C",
    "Cc",
    "Cf",
    "Cn",
    "Cs",
    "Co",
    "Any",
    "ASCII",
    "Assigned",
    "Greek",
    "Latin",
    "Cyrillic",
    "Han",
    "Common",
    "Inherited",
    "Cherokee",
    "Deseret",
    "Nko",
    "Nko",
    "Letter",
    "Uppercase_Letter",
    "punct",
    "digit",
    "cntrl",
    "Unassigned",
    "Alphabetic",
    "IsGreek",
    "Grek",
    "sc=Greek",
    "Script=Greek",
    "Emoji",
    "Titlecase_Letter",
    "x",
];

const PERL: [&str; 6] = [r"\d", r"\D", r"\w", r"\W", r"\s", r"\S"];
const POSIX: [&str; 20] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word", "xdigit",
    "^alpha", "^word", "^space", "foo", "^", "ALPHA",
];
const ASSERTIONS: [&str; 12] = ["^", "$", r"\A", r"\z", r"\b", r"\B", r"\b", r"\B", r"\Z", r"\b{start}", r"\<", r"\G"];
const FLAGS: [&str; 20] =
    ["i", "i", "i", "-i", "s", "-s", "m", "U", "ims", "i-s", "-im", "sU", "", "ii", "i-i", "-", "x", "u", "i--s", "-is-"];
const OPENINGS: [&str; 18] = [
    "(", "(", "(", "(", "(?:", "(?:", "(?:", "(?P<n>", "(?<n>", "(?P<m>", "(?P<1n>", "(?P<n", "(?P<é>", "(?P=n", "(?=", "(?!",
    "(?<=", "(?>",
];
/// What may stand anywhere in a pattern that somebody mistyped.
const TOKENS: [&str; 60] = [
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "|",
    "*",
    "+",
    "?",
    "??",
    "*?",
    "+?",
    "^",
    "$",
    ".",
    r"\",
    "-",
    "&&",
    "--",
    "~~",
    "[^",
    "[]",
    "[^]",
    "{1}",
    "{0}",
    "{,2}",
    "{2,}",
    "{2,1}",
    "{1,1000}",
    "{1001}",
    "{01}",
    "{ 1}",
    "{-1}",
    "{99999999999}",
    r"\Q",
    r"\E",
    r"\1",
    r"\12",
    r"\012",
    r"\x",
    r"\x4",
    r"\x{",
    r"\x{41}",
    r"\x{110000}",
    r"\u0041",
    r"\p",
    r"\pL",
    r"\p{",
    r"\p{^L}",
    r"\P{^Lu}",
    "[:alpha:]",
    "[[:",
    "[[=a=]]",
    "(?",
    "(?i",
    "(?i)",
    "(?:",
    ")|(",
    "(?P<n>",
];

/// A text that may be a pattern, and texts to try it on, half of which it may match.
pub(crate) fn pattern(random: &mut Random) -> (String, Vec<String>) {
    let (mut pattern, mut texts): (String, Vec<String>) = match random.below(100) {
        0..=24 => realistic(random),
        25 => deep(random),
        26 => large(random),
        27..=31 => {
            let length = random.between(0, 8);
            let text = (0..length).map(|_| token(random)).collect();
            (text, Vec::new())
        }
        _ => {
            let mut budget = random.between(1, 14);
            let node = choice(random, &mut budget, 0);
            let texts = (0..12).map(|_| matched(&node, random)).collect();
            let mut text = String::new();
            node.write(&mut text);
            (text, texts)
        }
    };
    if random.percent(25) {
        pattern = mistyped(&pattern, random);
    }
    for text in &mut texts {
        if random.percent(30) {
            *text = characters::mutated(text, random);
        }
    }
    while texts.len() < 20 {
        texts.push(match random.below(4) {
            0 => characters::text(random, 4),
            1 if !pattern.is_empty() => characters::mutated(&pattern, random).chars().take(200).collect(),
            2 if !texts.is_empty() => {
                let text = random.pick(&texts).clone();
                characters::mutated(&text, random)
            }
            _ => characters::text(random, 1),
        });
    }
    (pattern, texts)
}

fn token(random: &mut Random) -> String {
    match random.below(4) {
        0 => characters::any(random).to_string(),
        1 => format!("\\{}", characters::any(random)),
        _ => (*random.pick(&TOKENS)).to_owned(),
    }
}

fn mistyped(pattern: &str, random: &mut Random) -> String {
    let mut chars: Vec<String> = pattern.chars().map(String::from).collect();
    for _ in 0..random.between(1, 2) {
        let at = random.below(chars.len() + 1);
        match random.below(4) {
            0 if at < chars.len() => drop(chars.remove(at)),
            1 if at < chars.len() => {
                let other = random.below(chars.len());
                chars.swap(at, other);
            }
            2 if at < chars.len() => {
                let copy = chars[at].clone();
                chars.insert(at, copy);
            }
            _ => chars.insert(at, token(random)),
        }
    }
    chars.concat()
}

fn realistic(random: &mut Random) -> (String, Vec<String>) {
    const VALUES: [&str; 27] = [
        "",
        "true",
        "a",
        "b",
        "foo",
        "10.0.0.1:9100",
        "10.0.0.1:80;9102",
        "[::1]:9100;8080",
        "9102;2001:db8::1",
        "web-1",
        "WEB-2",
        "default;kubernetes;https",
        "http",
        "https",
        "a;b;c",
        "__meta_kubernetes_pod_label_app",
        "__meta_kubernetes_service_label_x",
        "kube_pod_info",
        "go_gc_duration_seconds",
        "prometheus-k8s",
        "db.example.com:5432",
        "app-5d4f8c7b9-x2x4k",
        "/x/metrics?a=b",
        "Pending",
        "Staging",
        "x\ny",
        "__param_target",
    ];
    let texts = (0..12).map(|_| (*random.pick(&VALUES)).to_owned()).collect();
    ((*random.pick(&REALISTIC)).to_owned(), texts)
}

/// Groups in groups, around the limits of both engines and of what compiles on an ordinary stack.
fn deep(random: &mut Random) -> (String, Vec<String>) {
    let (open, close) = *random.pick(&[
        ("(", ")"),
        ("(?:", ")"),
        ("(a|", ")"),
        ("(?i:a", ")"),
        ("(", ")*"),
        ("(?:a", "b)?"),
        ("(?:a|b(?:", "))"),
        ("(", "|c)+?"),
    ]);
    let depth = match random.below(5) {
        0 => random.between(990, 1003),
        1 => random.between(495, 503),
        2 => random.between(240, 260),
        _ => random.between(2, 60),
    };
    let texts = [0, 1, 2, depth.saturating_sub(1), depth, depth + 1].map(|n| "a".repeat(n) + "x");
    let mut texts = texts.to_vec();
    texts.push("a".repeat(depth) + "x" + &"b".repeat(depth));
    (open.repeat(depth) + "x" + &close.repeat(depth), texts)
}

/// Repetitions around the limits of both engines.
fn large(random: &mut Random) -> (String, Vec<String>) {
    let what = *random.pick(&[
        "a",
        ".",
        r"\w",
        r"\pL",
        "[^x]",
        "(a|b)",
        "(?i)k",
        r"\p{Greek}",
        "[[:alpha:]]?",
        "a*",
        "",
        "(?:)",
        "^",
        r"\b",
    ]);
    let count = *random.pick(&[2, 10, 100, 333, 500, 999, 1000, 1001]);
    let texts = [0, 1, count - 1, count, count + 1].map(|n| "a".repeat(n)).to_vec();
    let text = match random.below(6) {
        0 => format!("{what}{{{count}}}"),
        1 => format!("{what}{{1,{count}}}"),
        2 => format!("({what}{{{count},}})x?"),
        3 => format!("((?:{what}){{10}}){{{}}}", count / 10),
        4 => format!("((?:{what}){{1,{count}}}){{0,{}}}", *random.pick(&[0, 1, 2])),
        _ => format!("(?:({what}){{2}}|b){{{count}}}"),
    };
    (text, texts)
}

fn choice(random: &mut Random, budget: &mut usize, depth: usize) -> Node {
    let mut branches = vec![sequence(random, budget, depth)];
    while *budget > 0 && random.percent(20) {
        branches.push(if random.percent(15) { Node::Sequence(Vec::new()) } else { sequence(random, budget, depth) });
    }
    if branches.len() == 1 { branches.remove(0) } else { Node::Choice(branches) }
}

fn sequence(random: &mut Random, budget: &mut usize, depth: usize) -> Node {
    let mut parts = Vec::new();
    loop {
        *budget = budget.saturating_sub(1);
        let part = atom(random, budget, depth);
        parts.push(if random.percent(28) { repeated(part, random) } else { part });
        if *budget == 0 || random.percent(25) {
            return Node::Sequence(parts);
        }
    }
}

fn repeated(node: Node, random: &mut Random) -> Node {
    let (operator, min, max) = match random.below(12) {
        0..=2 => ("*".to_owned(), 0, 3),
        3..=5 => ("+".to_owned(), 1, 4),
        6 | 7 => ("?".to_owned(), 0, 1),
        8 => {
            let count = random.between(0, 4);
            (format!("{{{count}}}"), count, count)
        }
        9 => {
            let count = random.between(0, 3);
            (format!("{{{count},}}"), count, count + 2)
        }
        _ => {
            let min = random.between(0, 3);
            let max = random.between(min, min + 3);
            (format!("{{{min},{max}}}"), min, max)
        }
    };
    let lazy = if random.percent(20) { "?" } else { "" };
    let repeat = Node::Repeat(Box::new(node), operator + lazy, min, max);
    if random.percent(3) { repeated(repeat, random) } else { repeat }
}

fn atom(random: &mut Random, budget: &mut usize, depth: usize) -> Node {
    match random.below(100) {
        0..=44 => character(random),
        45..=52 => Node::Class(vec![characters::any(random)], ".".to_owned()),
        53..=64 => class(random),
        65..=69 => named_class(random),
        70..=75 => Node::Bare((*random.pick_usual(&ASSERTIONS, 8, 8)).to_owned()),
        76..=79 => Node::Bare(format!("(?{})", random.pick_usual(&FLAGS, 15, 8))),
        80..=81 => Node::Sequence(quoted(random)),
        _ if depth < 5 && *budget > 0 => group(random, budget, depth),
        _ => character(random),
    }
}

fn group(random: &mut Random, budget: &mut usize, depth: usize) -> Node {
    let open = match random.below(10) {
        0 => format!("(?{}:", random.pick_usual(&FLAGS, 15, 8)),
        _ => (*random.pick_usual(&OPENINGS, 10, 4)).to_owned(),
    };
    let inside = if random.percent(4) { Node::Sequence(Vec::new()) } else { choice(random, budget, depth + 1) };
    Node::Group(open, Box::new(inside))
}

fn quoted(random: &mut Random) -> Vec<Node> {
    let text = characters::text(random, 3);
    let mut parts = vec![Node::Bare(r"\Q".to_owned())];
    parts.extend(text.chars().map(|c| Node::Character(c, c.to_string())));
    parts.push(Node::Bare(if random.percent(90) { r"\E" } else { "" }.to_owned()));
    parts
}

fn character(random: &mut Random) -> Node {
    let c = if random.percent(60) { characters::plain(random) } else { characters::any(random) };
    Node::Character(c, spelled(c, random))
}

/// One of the ways to write a character, the wrong ones aside.
fn spelled(c: char, random: &mut Random) -> String {
    let code = u32::from(c);
    let special = r"\.+*?()|[]{}^$".contains(c);
    match random.below(if special { 10 } else { 40 }) {
        0 => format!("\\x{{{code:x}}}"),
        1 if code < 0x100 => format!("\\x{code:02X}"),
        2 if code < 0x200 => format!("\\{code:03o}"),
        3 if c.is_ascii_punctuation() => format!("\\{c}"),
        4 if c == '\n' => r"\n".to_owned(),
        4 if c == '\t' => r"\t".to_owned(),
        4 if c == '\u{b}' => r"\v".to_owned(),
        _ if special => format!("\\{c}"),
        _ => c.to_string(),
    }
}

fn class(random: &mut Random) -> Node {
    let negated = random.percent(25);
    let mut text = if negated { "[^" } else { "[" }.to_owned();
    let mut members = Vec::new();
    if random.percent(5) {
        text.push(']');
        members.push(']');
    }
    for _ in 0..random.between(usize::from(text.len() < 3), 4) {
        match random.below(20) {
            0..=8 => {
                let c = characters::any(random);
                members.push(c);
                // What would end the class is escaped, mostly; the rest is literal.
                if r"\]^-".contains(c) && random.percent(90) {
                    text.push('\\')
                }
                text.push(c);
            }
            9..=13 => {
                let (low, high) = match random.below(6) {
                    0 => ('a', 'f'),
                    1 => ('0', '9'),
                    2 => ('A', 'z'),
                    3 => ('+', '-'),
                    4 => ('\0', '\u{10ffff}'),
                    _ => {
                        let (one, other) = (characters::any(random), characters::any(random));
                        (one.min(other), one.max(other))
                    }
                };
                members.extend([low, high]);
                text.push_str(&format!("{}-{}", class_end(low, random), class_end(high, random)));
            }
            14..=15 => {
                let name = *random.pick_usual(&POSIX, 17, 5);
                members.extend(['a', ' ', '0', '_']);
                text.push_str(&format!("[:{name}:]"));
            }
            16..=17 => {
                members.extend(['a', ' ', '0', '_']);
                text.push_str(random.pick::<&str>(&PERL));
            }
            18 => {
                let Node::Class(named, spelled) = property(random) else { continue };
                members.extend(named);
                text.push_str(&spelled);
            }
            _ => {
                let odd = *random.pick(&[
                    "&&",
                    "--",
                    "~~",
                    "-",
                    "[",
                    "a-",
                    "-a",
                    "&&[^b",
                    r"\Q",
                    r"\b",
                    r"\E",
                    "[.a.",
                    r"\x{d800}",
                    r"\x{d7ff}-\x{e000}",
                    " ",
                    "#",
                    "||",
                ]);
                members.extend(odd.chars());
                text.push_str(odd);
            }
        }
    }
    text.push(']');
    if negated {
        members = vec![characters::any(random), characters::any(random)];
    }
    if members.is_empty() {
        members.push(']');
    }
    Node::Class(members, text)
}

fn class_end(c: char, random: &mut Random) -> String {
    if r"\]^-[".contains(c) && random.percent(80) { format!("\\{c}") } else { c.to_string() }
}

fn named_class(random: &mut Random) -> Node {
    if random.percent(60) {
        let text = *random.pick(&PERL);
        let members = match text {
            r"\d" => vec!['0', '9', '٣'],
            r"\w" => vec!['a', '_', 'K', 'ſ', 'é'],
            r"\s" => vec![' ', '\n', '\u{b}', '\u{a0}'],
            _ => vec![' ', '-', 'é', 'a', '\n'],
        };
        return Node::Class(members, text.to_owned());
    }
    property(random)
}

fn property(random: &mut Random) -> Node {
    let name = (*random.pick_usual(&PROPERTIES, 46, 8)).to_owned();
    let members = match name.as_str() {
        "Greek" => vec!['α', 'Ω', 'ͅ', 'µ'],
        "Han" => vec!['中'],
        "Nd" | "N" | "digit" => vec!['1', '٣', 'Ⅷ'],
        "Lt" => vec!['ǅ', 'ᾼ'],
        _ => "aAéßΣ1٣ -_;\n\u{300}中Ⅷ😀ǅ".chars().collect(),
    };
    let letter = if random.percent(75) { 'p' } else { 'P' };
    let name = match random.below(12) {
        0 => name.to_lowercase(),
        1 => name.to_uppercase(),
        2 => name.replace('_', random.pick::<&str>(&["", " ", "-", "__"])),
        3 => format!("{name}_"),
        _ => name,
    };
    let text = match random.below(10) {
        0 => format!(r"\{letter}{{^{name}}}"),
        1..=3 if name.len() == 1 => format!(r"\{letter}{name}"),
        _ => format!(r"\{letter}{{{name}}}"),
    };
    Node::Class(members, text)
}

impl Node {
    fn write(&self, text: &mut String) {
        match self {
            Node::Character(_, spelled) | Node::Class(_, spelled) | Node::Bare(spelled) => text.push_str(spelled),
            Node::Group(open, inside) => {
                text.push_str(open);
                inside.write(text);
                text.push(')');
            }
            Node::Sequence(parts) => parts.iter().for_each(|part| part.write(text)),
            Node::Choice(branches) => {
                for (index, branch) in branches.iter().enumerate() {
                    if index > 0 {
                        text.push('|');
                    }
                    branch.write(text);
                }
            }
            Node::Repeat(node, operator, ..) => {
                node.write(text);
                text.push_str(operator);
            }
        }
    }
}

/// A text that the pattern may match, in any case now and then.
fn matched(node: &Node, random: &mut Random) -> String {
    let mut text = String::new();
    let any_case = random.percent(35);
    fill(node, any_case, random, &mut text);
    text
}

fn fill(node: &Node, any_case: bool, random: &mut Random, text: &mut String) {
    if text.len() > 2000 {
        return;
    }
    let cased = |c: char, random: &mut Random| {
        if any_case && random.percent(50) { characters::other_case(c, random) } else { c }
    };
    match node {
        Node::Character(c, _) => text.push(cased(*c, random)),
        Node::Class(members, _) => {
            let c = *random.pick(members);
            text.push(cased(c, random));
        }
        Node::Bare(_) => {}
        Node::Group(_, inside) => fill(inside, any_case, random, text),
        Node::Sequence(parts) => parts.iter().for_each(|part| fill(part, any_case, random, text)),
        Node::Choice(branches) => fill(random.pick(branches), any_case, random, text),
        Node::Repeat(node, _, min, max) => {
            for _ in 0..random.between(*min, *max) {
                fill(node, any_case, random, text);
            }
        }
    }
}
