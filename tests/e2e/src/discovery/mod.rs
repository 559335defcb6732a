//! Discovery judged by Prometheus: random objects, and what each server discovers in them.

mod access;
mod acts;
mod alone;
mod consul;
mod difference;
mod jobs;
mod newer;
mod random;
mod servers;
mod world;

pub(crate) use self::{
    acts::{Switch, compare},
    alone::{STORIES, judge},
    jobs::dropping,
    servers::{Line, Programs, Server, free_port},
    world::NAMESPACES,
};
use self::{
    difference::{Discovered, difference},
    jobs::{config, has_owners},
    world::{Change, World},
};
