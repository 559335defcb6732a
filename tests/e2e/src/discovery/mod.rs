//! Discovery judged by Prometheus: random objects, and what each server discovers in them.

mod difference;
mod random;
mod servers;
mod world;

pub(crate) use self::{
    difference::{Discovered, difference},
    servers::Server,
    world::{Change, NAMESPACES, World},
};
