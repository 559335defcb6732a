//! Fills the original's structures from a document.

use super::{
    HashShape,
    tables::{AUTHORIZATION, BASIC_AUTH, CONFIG, DISCOVERY, Default, Kind, Member, Rule, Type},
    url,
    value::{Struct, Value},
};
use crate::{
    scalar,
    yaml::{self, Node, Scalar},
};

const STATIC_CONFIGS: &str = "static_configs";
const MINUTE: u64 = 60_000_000_000;
const TEN_SECONDS: u64 = 10_000_000_000;

/// Everything answers `None` where the original's reading is not known.
pub(super) struct Reader {
    pub(super) shape: HashShape,
}

impl Reader {
    pub(super) fn config(&self, root: &Node) -> Option<Value> {
        if has_odd_null(root) {
            return None;
        }
        let mut config = match &root.value {
            yaml::Value::Map(_) => self.structure(&CONFIG, root)?,
            _ => return None,
        };
        inherit(&mut config)?;
        Some(Value::Struct(config))
    }

    /// A structure whose mapping is `node`.
    fn structure(&self, of: &'static Type, node: &Node) -> Option<Struct> {
        if !node.entries().iter().all(|entry| self.knows(of, &entry.key.text)) {
            return None;
        }
        self.members(of, node)
    }

    fn knows(&self, of: &Type, key: &str) -> bool {
        self.existing(of).any(|member| match member.kind {
            Kind::Inline(inner) => self.knows(inner, key),
            Kind::Discovery => key == STATIC_CONFIGS || DISCOVERY.iter().any(|(known, _)| *known == key),
            _ => member.key == key,
        })
    }

    fn existing<'a>(&self, of: &'a Type) -> impl Iterator<Item = &'a Member> {
        of.members.iter().filter(|member| member.exists_in(self.shape.types))
    }

    fn members(&self, of: &'static Type, node: &Node) -> Option<Struct> {
        let read = |member: &'static Member| Some((member.name, self.member(member, node)?));
        let mut filled = Struct { name: of.name, members: self.existing(of).map(read).collect::<Option<_>>()? };
        match of.rule {
            Rule::None => {}
            Rule::Authorization => self.authorization(&mut filled)?,
            Rule::Consul => self.consul(&mut filled)?,
            Rule::Relabel => relabel(&mut filled)?,
        }
        Some(filled)
    }

    fn member(&self, member: &'static Member, node: &Node) -> Option<Value> {
        match member.kind {
            Kind::Inline(inner) => return Some(Value::Struct(self.members(inner, node)?)),
            Kind::Discovery => return self.discovery(node),
            _ if member.name == "ExternalLabels" => return Some(Value::List(Vec::new())),
            _ => {}
        }
        match node.get(member.key) {
            None => self.absent(member),
            Some(value) if value.is_null() => Some(self.zero(member.kind)),
            Some(value) => self.value(member.kind, value),
        }
    }

    fn absent(&self, member: &'static Member) -> Option<Value> {
        let millis = |millis: u64| Value::Number(millis * 1_000_000);
        Some(match (member.default, member.kind) {
            (Default::Zero, Kind::Inside(inner)) => Value::Struct(self.members(inner, &Node::empty_map())?),
            (Default::Zero, Kind::Regex) => regex(),
            (Default::Zero, kind) => self.zero(kind),
            (Default::True, _) => Value::Bool(true),
            (Default::Text(text), _) => Value::text(text),
            (Default::Number(number), _) => Value::Number(number),
            (Default::Millis(amount), _) => millis(amount),
            (Default::MillisChanged(before, after), _) => {
                millis(if self.shape.types == super::Generation::V02 { before } else { after })
            }
        })
    }

    /// What a null makes of a member.
    fn zero(&self, kind: Kind) -> Value {
        match kind {
            Kind::Text => Value::text(""),
            Kind::Bool => Value::Bool(false),
            Kind::Int | Kind::Uint | Kind::Float | Kind::Duration | Kind::Size => Value::Number(0),
            Kind::Url => Value::Struct(Struct::new("URL", [("URL", Value::Nil)])),
            Kind::Regex => Value::Struct(Struct::new("Regexp", [("Regexp", Value::Nil)])),
            Kind::Texts | Kind::List(_) | Kind::Discovery => Value::List(Vec::new()),
            Kind::TextMap | Kind::TextsMap => Value::Map(Vec::new()),
            Kind::Optional(_) => Value::Nil,
            Kind::Inside(inner) | Kind::Zeroed(inner) | Kind::Inline(inner) => {
                let members = self.existing(inner).map(|member| (member.name, self.zero(member.kind)));
                Value::Struct(Struct::new(inner.name, members))
            }
        }
    }

    /// A value that is not null.
    fn value(&self, kind: Kind, node: &Node) -> Option<Value> {
        let nanoseconds = |scalar: &Scalar| u64::try_from(scalar::duration(scalar)?.as_nanos()).ok();
        Some(match kind {
            Kind::Text => text(node)?,
            Kind::Bool => Value::Bool(scalar::boolean(node.as_scalar()?)?),
            Kind::Int => Value::Number(scalar::integer(node.as_scalar()?)?.cast_unsigned()),
            Kind::Uint => Value::Number(scalar::unsigned(node.as_scalar()?)?),
            Kind::Float => Value::Number(scalar::float(node.as_scalar()?)?.to_bits()),
            Kind::Duration => Value::Number(nanoseconds(node.as_scalar()?)?),
            Kind::Size => Value::Number(scalar::size(node.as_scalar()?)?.cast_unsigned()),
            Kind::Url => {
                let parsed = url::parse(node.as_scalar()?.as_text(), self.shape.url)?;
                Value::Struct(Struct::new("URL", [("URL", parsed)]))
            }
            Kind::Regex => node.as_scalar().map(|_| regex())?,
            Kind::Texts => Value::List(texts(node)?),
            Kind::TextMap => map(node, text)?,
            Kind::TextsMap => {
                map(node, |values| if values.is_null() { Some(Vec::new()) } else { texts(values) }.map(Value::List))?
            }
            Kind::List(inner) => Value::List(self.structures(inner, node)?),
            Kind::Inside(inner) | Kind::Zeroed(inner) | Kind::Optional(inner) | Kind::Inline(inner) => {
                mapping(node)?;
                Value::Struct(self.structure(inner, node)?)
            }
            Kind::Discovery => return None,
        })
    }

    fn structures(&self, of: &'static Type, list: &Node) -> Option<Vec<Value>> {
        let one = |item: &Node| {
            mapping(item)?;
            Some(Value::Struct(self.structure(of, item)?))
        };
        items(list)?.iter().map(one).collect()
    }

    /// All sections of one mechanism before those of the next, by the name of the key, and static groups as one section at
    /// the end.
    fn discovery(&self, node: &Node) -> Option<Value> {
        let mut sections = Vec::new();
        for (key, of) in DISCOVERY {
            if let Some(list) = node.get(key).filter(|list| !list.is_null()) {
                sections.append(&mut self.structures(of, list)?);
            }
        }
        let groups = node.get(STATIC_CONFIGS).filter(|list| !list.is_null()).map_or(Some(&[][..]), items)?;
        let groups: Vec<Value> = groups.iter().enumerate().map(static_group).collect::<Option<_>>()?;
        if !groups.is_empty() {
            sections.push(Value::List(groups));
        }
        Some(Value::List(sections))
    }

    fn authorization(&self, client: &mut Struct) -> Option<()> {
        if let Value::Struct(authorization) = client.member("Authorization")? {
            let kind = authorization.member("Type")?;
            if let Value::Text(text) = kind {
                let trimmed = std::str::from_utf8(text).ok()?.trim();
                *kind = Value::text(if trimmed.is_empty() { "Bearer" } else { trimmed });
            }
            return Some(());
        }
        for (from, to) in [("BearerToken", "Credentials"), ("BearerTokenFile", "CredentialsFile")] {
            let token = std::mem::replace(client.member(from)?, Value::text(""));
            if !token.is_text("") {
                let mut authorization = self.members(&AUTHORIZATION, &Node::empty_map())?;
                *authorization.member("Type")? = Value::text("Bearer");
                *authorization.member(to)? = token;
                *client.member("Authorization")? = Value::Struct(authorization);
            }
        }
        Some(())
    }

    fn consul(&self, section: &mut Struct) -> Option<()> {
        let (user, password) = (section.member("Username")?.clone(), section.member("Password")?.clone());
        if !(user.is_text("") && password.is_text("")) {
            let mut basic = self.members(&BASIC_AUTH, &Node::empty_map())?;
            *basic.member("Username")? = user;
            *basic.member("Password")? = password;
            *section.inner("HTTPClientConfig")?.member("BasicAuth")? = Value::Struct(basic);
        }
        Some(())
    }
}

fn relabel(rule: &mut Struct) -> Option<()> {
    *rule.member("Regex")? = regex();
    if let Value::Text(action) = rule.member("Action")? {
        *action = std::str::from_utf8(action).ok()?.to_lowercase().into_bytes();
    }
    Some(())
}

/// Fills in the intervals that jobs take from `global`, and `global` from the defaults.
fn inherit(config: &mut Struct) -> Option<()> {
    fn or(value: &mut u64, default: u64) -> u64 {
        if *value == 0 {
            *value = default;
        }
        *value
    }
    let global = config.inner("GlobalConfig")?;
    let interval = or(global.number("ScrapeInterval")?, MINUTE);
    let timeout = or(global.number("ScrapeTimeout")?, TEN_SECONDS.min(interval));
    or(global.number("EvaluationInterval")?, MINUTE);
    let Value::List(jobs) = config.member("ScrapeConfigs")? else { return None };
    for job in jobs {
        let Value::Struct(job) = job else { return None };
        let interval = or(job.number("ScrapeInterval")?, interval);
        or(job.number("ScrapeTimeout")?, timeout.min(interval));
    }
    Some(())
}

fn static_group((index, node): (usize, &Node)) -> Option<Value> {
    mapping(node)?;
    if node.entries().iter().any(|entry| !["targets", "labels"].contains(&entry.key.text.as_str())) {
        return None;
    }
    let present = |key| node.get(key).filter(|value| !value.is_null());
    let targets = present("targets").map_or(Some(Vec::new()), texts)?;
    let address = |target| Value::Map(vec![(Value::text(kvass_model::ADDRESS_LABEL), target)]);
    let labels = present("labels").map_or(Some(Value::Map(Vec::new())), |labels| map(labels, text))?;
    let members = [
        ("Targets", Value::List(targets.into_iter().map(address).collect())),
        ("Labels", labels),
        ("Source", Value::text(&index.to_string())),
    ];
    Some(Value::Struct(Struct::new("Group", members)))
}

fn regex() -> Value {
    Value::Struct(Struct::new("Regexp", [("Regexp", Value::Struct(Struct::new("Regexp", [])))]))
}

fn text(node: &Node) -> Option<Value> {
    node.as_scalar().map(|scalar| Value::text(scalar.as_text()))
}

fn texts(node: &Node) -> Option<Vec<Value>> {
    items(node)?.iter().map(text).collect()
}

fn map(node: &Node, value: impl Fn(&Node) -> Option<Value>) -> Option<Value> {
    let pair = |entry: &yaml::Entry| Some((Value::text(entry.key.as_text()), value(&entry.value)?));
    Some(Value::Map(mapping(node)?.iter().map(pair).collect::<Option<_>>()?))
}

fn items(node: &Node) -> Option<&[Node]> {
    match &node.value {
        yaml::Value::List(items) => Some(items),
        _ => None,
    }
}

fn mapping(node: &Node) -> Option<&[yaml::Entry]> {
    match &node.value {
        yaml::Value::Map(entries) => Some(entries),
        _ => None,
    }
}

/// Two spellings of null reach the decoders of the original's types, the others do not.
fn has_odd_null(node: &Node) -> bool {
    match &node.value {
        yaml::Value::Scalar(scalar) => scalar.plain && matches!(scalar.text.as_str(), "Null" | "NULL"),
        yaml::Value::List(items) => items.iter().any(has_odd_null),
        yaml::Value::Map(entries) => entries.iter().any(|entry| has_odd_null(&entry.value)),
    }
}
