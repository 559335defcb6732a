//! Values as Go holds them, and the structural hash over them.

/// FNV-1 over 64 bits.
const OFFSET: u64 = 14_695_981_039_346_656_037;
const PRIME: u64 = 1_099_511_628_211;

/// One value of the original's configuration structures.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// Text; bytes, as a URL's path may decode to anything.
    Text(Vec<u8>),
    Bool(bool),
    /// Any number as its 64 bits: whole ones, durations in nanoseconds, floating ones.
    Number(u64),
    /// A pointer to nothing; hashes as the number 0.
    Nil,
    List(Vec<Value>),
    Map(Vec<(Value, Value)>),
    Struct(Struct),
}

/// A structure with its exported members in order of declaration.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Struct {
    pub(super) name: &'static str,
    pub(super) members: Vec<(&'static str, Value)>,
}

impl Value {
    pub(super) fn text(text: &str) -> Value {
        Value::Text(text.as_bytes().to_vec())
    }

    pub(super) fn is_text(&self, text: &str) -> bool {
        matches!(self, Value::Text(own) if own == text.as_bytes())
    }
}

impl Struct {
    pub(super) fn new(name: &'static str, members: impl IntoIterator<Item = (&'static str, Value)>) -> Struct {
        Struct { name, members: members.into_iter().collect() }
    }

    pub(super) fn member(&mut self, name: &str) -> Option<&mut Value> {
        self.members.iter_mut().find(|(own, _)| *own == name).map(|(_, value)| value)
    }

    /// The member that is a structure.
    pub(super) fn inner(&mut self, name: &str) -> Option<&mut Struct> {
        match self.member(name) {
            Some(Value::Struct(inner)) => Some(inner),
            _ => None,
        }
    }

    /// The member that is a number.
    pub(super) fn number(&mut self, name: &str) -> Option<&mut u64> {
        match self.member(name) {
            Some(Value::Number(number)) => Some(number),
            _ => None,
        }
    }
}

pub(super) fn hash(value: &Value) -> u64 {
    match value {
        Value::Text(text) => fnv(text),
        Value::Bool(value) => fnv(&[u8::from(*value)]),
        Value::Number(number) => fnv(&number.to_le_bytes()),
        Value::Nil => fnv(&0_u64.to_le_bytes()),
        Value::List(items) => items.iter().fold(0, |h, item| ordered(h, hash(item))),
        Value::Map(pairs) => finish(pairs.iter().fold(0, |h, (key, value)| h ^ ordered(hash(key), hash(value)))),
        // Finished after every member, so their order counts although they are combined by xor.
        Value::Struct(Struct { name, members }) => {
            members.iter().fold(fnv(name.as_bytes()), |h, (name, value)| finish(h ^ ordered(fnv(name.as_bytes()), hash(value))))
        }
    }
}

fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(OFFSET, |h, byte| h.wrapping_mul(PRIME) ^ u64::from(*byte))
}

fn ordered(a: u64, b: u64) -> u64 {
    fnv(&[a.to_le_bytes(), b.to_le_bytes()].concat())
}

fn finish(h: u64) -> u64 {
    fnv(&h.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_primitive_is_fnv_1() {
        // Published test vectors.
        assert_eq!(fnv(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv(b"a"), 0xaf63_bd4c_8601_b7be);
        assert_eq!(fnv(b"foobar"), 0x340d_8765_a4dd_a9c2);
    }

    #[test]
    fn order_counts_in_lists_and_structures_only() {
        let (a, b) = (Value::text("a"), Value::text("b"));
        assert_ne!(hash(&Value::List(vec![a.clone(), b.clone()])), hash(&Value::List(vec![b.clone(), a.clone()])));
        let one = [("x", a.clone()), ("y", b.clone())];
        let [x, y] = one.clone();
        assert_ne!(hash(&Value::Struct(Struct::new("T", one))), hash(&Value::Struct(Struct::new("T", [y, x]))));
        let pair = |v: &Value| (v.clone(), v.clone());
        assert_eq!(hash(&Value::Map(vec![pair(&a), pair(&b)])), hash(&Value::Map(vec![pair(&b), pair(&a)])));
        assert_eq!(hash(&Value::List(Vec::new())), 0);
        assert_ne!(hash(&Value::Map(Vec::new())), 0);
        assert_eq!(hash(&Value::Nil), hash(&Value::Number(0)));
    }
}
