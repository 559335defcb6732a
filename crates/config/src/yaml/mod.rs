//! YAML as Prometheus reads it: scalars keep their text, and what a scalar means is decided by who asks.

mod emit;
mod node;
mod parse;

pub(crate) use emit::emit;
pub(crate) use node::{Entry, Node, Position, Scalar, Value};
pub(crate) use parse::parse;

#[cfg(test)]
mod round_trip;
