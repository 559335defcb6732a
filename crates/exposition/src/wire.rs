//! The protobuf wire encoding, as far as `io.prometheus.client` messages need it.

/// The bytes are no valid message; says what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// One field of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Field<'a> {
    pub(crate) number: u32,
    value: Value<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32,
    Bytes(&'a [u8]),
    Group,
}

impl<'a> Field<'a> {
    /// A nested message or a string.
    pub(crate) fn bytes(&self) -> Result<&'a [u8], Malformed> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(Malformed("a length-delimited field")),
        }
    }

    pub(crate) fn varint(&self) -> Result<u64, Malformed> {
        match self.value {
            Value::Varint(value) => Ok(value),
            _ => Err(Malformed("a variable-length integer")),
        }
    }

    pub(crate) fn double(&self) -> Result<f64, Malformed> {
        match self.value {
            Value::Fixed64(bits) => Ok(f64::from_bits(bits)),
            _ => Err(Malformed("a 64-bit number")),
        }
    }

    /// A 32-bit integer in zigzag; what is above is lost, as in Go.
    pub(crate) fn zigzag32(&self) -> Result<i32, Malformed> {
        let value = self.varint()? as u32;
        Ok((value >> 1) as i32 ^ -((value & 1) as i32))
    }

    /// Calls `visit` with the 64-bit integers in zigzag that a repeated field adds, packed or not.
    pub(crate) fn zigzags(&self, mut visit: impl FnMut(i64) -> Result<(), Malformed>) -> Result<(), Malformed> {
        let decoded = |value: u64| (value >> 1) as i64 ^ -((value & 1) as i64);
        match self.value {
            Value::Varint(value) => visit(decoded(value)),
            Value::Bytes(mut packed) => {
                while !packed.is_empty() {
                    visit(decoded(varint(&mut packed)?))?;
                }
                Ok(())
            }
            _ => Err(Malformed("variable-length integers")),
        }
    }

    /// Calls `visit` with the 64-bit numbers that a repeated field adds, packed or not.
    pub(crate) fn doubles(&self, mut visit: impl FnMut(f64) -> Result<(), Malformed>) -> Result<(), Malformed> {
        match self.value {
            Value::Fixed64(bits) => visit(f64::from_bits(bits)),
            Value::Bytes(packed) => {
                let (numbers, rest) = packed.as_chunks::<8>();
                numbers.iter().try_for_each(|bytes| visit(f64::from_le_bytes(*bytes)))?;
                if rest.is_empty() { Ok(()) } else { Err(Malformed("64-bit numbers")) }
            }
            _ => Err(Malformed("64-bit numbers")),
        }
    }
}

/// Calls `visit` with every field of a message, unknown ones included.
pub(crate) fn for_each_field<'a, E: From<Malformed>>(
    mut message: &'a [u8],
    mut visit: impl FnMut(Field<'a>) -> Result<(), E>,
) -> Result<(), E> {
    while !message.is_empty() {
        let (number, kind) = tag(&mut message)?;
        visit(Field { number, value: value(&mut message, kind)? })?;
    }
    Ok(())
}

/// Number and wire type.
fn tag(rest: &mut &[u8]) -> Result<(u32, u8), Malformed> {
    let tag = varint(rest)?;
    // Go keeps the low 32 bits of the number.
    let number = (tag >> 3) as u32;
    if number == 0 || number > i32::MAX as u32 {
        return Err(Malformed("a positive field number"));
    }
    Ok((number, (tag & 7) as u8))
}

fn value<'a>(rest: &mut &'a [u8], kind: u8) -> Result<Value<'a>, Malformed> {
    match kind {
        0 => varint(rest).map(Value::Varint),
        1 => {
            let bytes: [u8; 8] = take(rest, 8)?.try_into().map_err(|_| Malformed("8 bytes"))?;
            Ok(Value::Fixed64(u64::from_le_bytes(bytes)))
        }
        2 => {
            let length = varint(rest)?;
            Ok(Value::Bytes(take(rest, usize::try_from(length).unwrap_or(usize::MAX))?))
        }
        3 => skip_group(rest).map(|()| Value::Group),
        5 => take(rest, 4).map(|_| Value::Fixed32),
        _ => Err(Malformed("a wire type of 0, 1, 2, 3 or 5")),
    }
}

/// Passes what is behind the beginning of a group, its end included. Nobody looks at field numbers in there.
fn skip_group(rest: &mut &[u8]) -> Result<(), Malformed> {
    let mut depth = 1u64;
    while depth > 0 {
        match (varint(rest)? & 7) as u8 {
            3 => depth += 1,
            4 => depth -= 1,
            kind => drop(value(rest, kind)?),
        }
    }
    Ok(())
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], Malformed> {
    let (head, tail) = rest.split_at_checked(length).ok_or(Malformed("a message that is not cut off"))?;
    *rest = tail;
    Ok(head)
}

/// A variable-length integer of at most ten bytes; more bits than 64 are lost, as in Go.
fn varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0;
    for (index, byte) in rest.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            *rest = rest.get(index + 1..).unwrap_or_default();
            return Ok(value);
        }
    }
    Err(Malformed("a variable-length integer of at most 10 bytes"))
}

/// A length prefix and how many bytes it takes; `None` while it is not complete.
pub(crate) fn length_prefix(bytes: &[u8]) -> Result<Option<(u64, usize)>, Malformed> {
    /// More cannot be needed for a length of 32 bits, and Prometheus refuses it.
    const MAX_PREFIX: usize = 5;
    let prefix = bytes.get(..MAX_PREFIX).unwrap_or(bytes);
    match prefix.iter().position(|byte| byte & 0x80 == 0) {
        Some(last) => {
            let length = varint(&mut prefix.get(..=last).unwrap_or_default())?;
            Ok(Some((length, last + 1)))
        }
        None if prefix.len() < MAX_PREFIX => Ok(None),
        None => Err(Malformed("a length prefix of at most 5 bytes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(message: &[u8]) -> Result<Vec<Field<'_>>, Malformed> {
        let mut fields = Vec::new();
        for_each_field(message, |field| {
            fields.push(field);
            Ok::<_, Malformed>(())
        })?;
        Ok(fields)
    }

    #[test]
    fn every_wire_type() {
        let message = [
            &[0x08, 0x96, 0x01][..],               // 1: 150
            &[0x11, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f], // 2: 1.0
            &[0x1a, 2, b'h', b'i'],                // 3: "hi"
            &[0x23, 0x08, 1, 0x2b, 0x2c, 0x24],    // 4: group holding a field and a group
            &[0x2d, 1, 2, 3, 4],                   // 5: 32 bits
            &[0x32, 3, 0x01, 0x96, 0x01],          // 6: packed 1, 150
        ]
        .concat();
        let fields = fields(&message).unwrap();
        assert_eq!(fields.iter().map(|field| field.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
        assert_eq!(fields[0].varint(), Ok(150));
        assert_eq!(fields[1].double(), Ok(1.0));
        assert_eq!(fields[2].bytes(), Ok(&b"hi"[..]));
        let zigzags = |field: &Field<'_>| {
            let mut values = Vec::new();
            field
                .zigzags(|value| {
                    values.push(value);
                    Ok(())
                })
                .map(|()| values)
        };
        assert_eq!((zigzags(&fields[0]), zigzags(&fields[5])), (Ok(vec![75]), Ok(vec![-1, 75])));
        assert_eq!(fields[0].zigzag32(), Ok(75));
        let mut doubles = Vec::new();
        fields[1]
            .doubles(|value| {
                doubles.push(value);
                Ok(())
            })
            .unwrap();
        assert_eq!(doubles, [1.0]);
        assert!(fields[3].bytes().is_err() && fields[4].varint().is_err() && fields[5].doubles(|_| Ok(())).is_err());
        assert!(zigzags(&fields[1]).is_err() && fields[1].zigzag32().is_err());
    }

    #[test]
    fn malformed_messages() {
        for message in [
            &[0x08][..],
            &[0x08, 0x80],
            &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
            &[0x11, 0, 0],
            &[0x1a, 5, b'h'],
            &[0x1a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
            &[0x0b, 0x08, 1],
            &[0x0b, 0x0b, 0x0c],
            &[0x0c],
            &[0x0e],
            &[0x00, 1],
            &[0x0b; 5000],
        ] {
            assert!(fields(message).is_err(), "{message:?}");
        }
    }

    #[test]
    fn length_prefixes() {
        assert_eq!(length_prefix(&[]), Ok(None));
        assert_eq!(length_prefix(&[0x80]), Ok(None));
        assert_eq!(length_prefix(&[0x05, 9]), Ok(Some((5, 1))));
        assert_eq!(length_prefix(&[0x80, 0x80, 0x80, 0x80, 0x01]), Ok(Some((1 << 28, 5))));
        assert!(length_prefix(&[0x80, 0x80, 0x80, 0x80, 0x80]).is_err());
    }
}
