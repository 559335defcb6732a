use std::{fmt, time::Duration};

use kvass_model::{SeriesCount, TargetHash};

/// One change, with the figures that led to it. Shards are named by ordinal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// A shard drops a target that is not active any more.
    Collected {
        /// The target.
        target: TargetHash,
        /// The shard that drops it.
        shard: u32,
    },
    /// Two shards had the target as their own; one lets go.
    DoubleReleased {
        /// The target.
        target: TargetHash,
        /// The shard that drops it.
        shard: u32,
        /// The shard that keeps it.
        keeper: u32,
    },
    /// A target was in transfer, but nobody was taking it over.
    Reverted {
        /// The target.
        target: TargetHash,
        /// The shard that has it, normal again.
        shard: u32,
    },
    /// A hand-over nobody remembers (the coordinator restarted) is watched from now on.
    Adopted {
        /// The target.
        target: TargetHash,
        /// The shard that lets go.
        from: u32,
        /// The shard that takes over.
        to: u32,
    },
    /// A hand-over is complete.
    HandedOver {
        /// The target.
        target: TargetHash,
        /// The shard that drops it.
        from: u32,
        /// The shard that scrapes it now.
        to: u32,
    },
    /// A hand-over did not complete in time and is undone.
    TakenBack {
        /// The target.
        target: TargetHash,
        /// The shard that has it, normal again.
        from: u32,
        /// The shard that drops it.
        to: u32,
        /// How long it was waited for.
        waited: Duration,
    },
    /// A shard that came back without its list gets this target again.
    GivenBack {
        /// The target.
        target: TargetHash,
        /// The shard.
        shard: u32,
    },
    /// A hand-over begins.
    MoveStarted {
        /// The target.
        target: TargetHash,
        /// Its size.
        count: SeriesCount,
        /// The shard that will let go.
        from: u32,
        /// The shard that takes over.
        to: u32,
        /// What it is good for.
        why: MoveReason,
    },
    /// A target without a home gets one.
    Assigned {
        /// The target.
        target: TargetHash,
        /// Its size.
        count: SeriesCount,
        /// The shard.
        shard: u32,
        /// It exceeds a limit by itself and has the shard alone.
        alone: bool,
    },
}

/// Why a target moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoveReason {
    /// Its shard is above the limit.
    Relief {
        /// Planned load of the shard before the move.
        load: SeriesCount,
    },
    /// Its shard is being emptied so that it can be removed.
    Drain,
}

impl Decision {
    /// A stable word for this kind of decision, fit for a metric label.
    pub fn kind(&self) -> &'static str {
        match self {
            Decision::Collected { .. } => "collect",
            Decision::DoubleReleased { .. } => "release_double",
            Decision::Reverted { .. } => "revert",
            Decision::Adopted { .. } => "adopt",
            Decision::HandedOver { .. } => "hand_over",
            Decision::TakenBack { .. } => "take_back",
            Decision::GivenBack { .. } => "give_back",
            Decision::MoveStarted { why: MoveReason::Relief { .. }, .. } => "alleviate",
            Decision::MoveStarted { why: MoveReason::Drain, .. } => "drain",
            Decision::Assigned { .. } => "assign",
        }
    }

    /// The target it is about.
    pub fn target(&self) -> TargetHash {
        match self {
            Decision::Collected { target, .. }
            | Decision::DoubleReleased { target, .. }
            | Decision::Reverted { target, .. }
            | Decision::Adopted { target, .. }
            | Decision::HandedOver { target, .. }
            | Decision::TakenBack { target, .. }
            | Decision::GivenBack { target, .. }
            | Decision::MoveStarted { target, .. }
            | Decision::Assigned { target, .. } => *target,
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Decision::Collected { target, shard } => write!(f, "shard {shard} drops {target}: not active any more"),
            Decision::DoubleReleased { target, shard, keeper } => {
                write!(f, "shard {shard} drops {target}: shard {keeper} has it too")
            }
            Decision::Reverted { target, shard } => write!(f, "shard {shard} keeps {target}: nobody takes it over"),
            Decision::Adopted { target, from, to } => {
                write!(f, "hand-over of {target} from shard {from} to shard {to} found under way")
            }
            Decision::HandedOver { target, from, to } => write!(f, "shard {from} drops {target}: shard {to} has taken over"),
            Decision::TakenBack { target, from, to, waited } => {
                write!(f, "shard {from} takes {target} back: shard {to} has not taken over within {}s", waited.as_secs())
            }
            Decision::GivenBack { target, shard } => write!(f, "shard {shard} gets {target} back: it lost its list"),
            Decision::MoveStarted { target, count, from, to, why } => {
                write!(f, "{target} ({}) moves from shard {from} to shard {to}: ", Size(*count))?;
                match why {
                    MoveReason::Relief { load } => write!(f, "shard {from} is over its limit with {}", Size(*load)),
                    MoveReason::Drain => write!(f, "shard {from} is being emptied"),
                }
            }
            Decision::Assigned { target, count, shard, alone } => {
                write!(f, "shard {shard} gets {target} ({})", Size(*count))?;
                if *alone { f.write_str(" and nothing else: it exceeds the limit by itself") } else { Ok(()) }
            }
        }
    }
}

/// Why the scale changes, or why it stays although room is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScaleReason {
    /// Shards are added for targets no shard has room for.
    Need {
        /// How many targets lack room.
        targets: usize,
        /// How many of them have a home still, on shards that are failing.
        foreseen: usize,
        /// Their size.
        need: SeriesCount,
        /// How many shards are added.
        added: u32,
        /// What keeps more from being added, if more are needed.
        barrier: Option<Barrier>,
    },
    /// There are targets, and no shard at all.
    First,
    /// The scale is below the least number of shards.
    Minimum(u32),
    /// Shards at the end were empty long enough.
    Idle {
        /// How many shards are removed.
        removed: u32,
        /// How many of them with samples that were not uploaded before the deadline.
        unsaved: u32,
    },
    /// A shard at the end was empty long enough, and is kept because samples of it are not uploaded yet.
    AwaitingUpload {
        /// The shard.
        shard: u32,
    },
    /// Targets lack room, and no shard can be added.
    NoRoom {
        /// How many targets lack room.
        targets: usize,
        /// Their size.
        need: SeriesCount,
        /// What keeps shards from being added.
        barrier: Barrier,
    },
}

impl ScaleReason {
    /// A stable word for this kind of reason, fit for a metric label.
    pub fn kind(&self) -> &'static str {
        match self {
            ScaleReason::Need { .. } => "need",
            ScaleReason::First => "first",
            ScaleReason::Minimum(_) => "minimum",
            ScaleReason::Idle { .. } => "idle",
            ScaleReason::AwaitingUpload { .. } => "awaiting_upload",
            ScaleReason::NoRoom { .. } => "no_room",
        }
    }
}

impl fmt::Display for ScaleReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ScaleReason::Need { targets, foreseen, need, added, barrier } => {
                write!(f, "{added} more for {targets} targets without room ({})", Size(*need))?;
                if *foreseen > 0 {
                    write!(f, ", {foreseen} of them on shards that do not answer")?;
                }
                barrier.map_or(Ok(()), |barrier| write!(f, ", which is not enough: {barrier}"))
            }
            ScaleReason::First => f.write_str("there are targets and no shard"),
            ScaleReason::Minimum(min) => write!(f, "at least {min} wanted"),
            ScaleReason::Idle { removed, unsaved } => {
                write!(f, "{removed} fewer: empty for longer than the idle time")?;
                if *unsaved == 0 { Ok(()) } else { write!(f, ", {unsaved} of them with samples not uploaded by the deadline") }
            }
            ScaleReason::AwaitingUpload { shard } => write!(f, "shard {shard} waits for the upload of its samples"),
            ScaleReason::NoRoom { targets, need, barrier } => {
                write!(f, "no room for {targets} targets ({}) and none can be made: {barrier}", Size(*need))
            }
        }
    }
}

/// What keeps shards from being added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Barrier {
    /// The largest number of shards is reached.
    MaxShards(u32),
    /// The number of shards is fixed.
    Static,
    /// Most shards are lost, which is more likely the coordinator's own network than theirs.
    MostLost {
        /// Lost shards.
        lost: usize,
        /// Listed shards.
        listed: usize,
    },
    /// The room there is lies behind full heads, which shrink by themselves.
    HeadGate,
}

impl Barrier {
    /// A stable word for this barrier, fit for a metric label.
    pub fn kind(&self) -> &'static str {
        match self {
            Barrier::MaxShards(_) => "max_shards",
            Barrier::Static => "static",
            Barrier::MostLost { .. } => "most_lost",
            Barrier::HeadGate => "head_gate",
        }
    }
}

impl fmt::Display for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Barrier::MaxShards(max) => write!(f, "at most {max} shards allowed"),
            Barrier::Static => f.write_str("the number of shards is fixed"),
            Barrier::MostLost { lost, listed } => write!(f, "{lost} of {listed} shards are unreachable"),
            Barrier::HeadGate => f.write_str("waiting for full heads to be truncated"),
        }
    }
}

/// Why an active target has no home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnassignedReason {
    /// The coordinator has just started, and the target may sit on a shard it has not read yet.
    Unsettled,
    /// Its size is not known yet, and nobody has tried to learn it.
    NotExplored,
    /// A shard with room for it is coming.
    AwaitingShard {
        /// Its size.
        count: SeriesCount,
    },
    /// No shard has room, and none can be added.
    NoRoom {
        /// Its size.
        count: SeriesCount,
        /// What keeps shards from being added.
        barrier: Barrier,
    },
    /// It exceeds a limit by itself, no shard is free for it alone, and none can be added.
    TooBig {
        /// Its size.
        count: SeriesCount,
        /// What keeps shards from being added.
        barrier: Barrier,
    },
}

impl UnassignedReason {
    /// Whether it is only a matter of time until the target gets a home.
    pub fn is_passing(&self) -> bool {
        match self {
            UnassignedReason::Unsettled | UnassignedReason::NotExplored | UnassignedReason::AwaitingShard { .. } => true,
            UnassignedReason::NoRoom { .. } | UnassignedReason::TooBig { .. } => false,
        }
    }

    /// A stable word for this kind of reason, fit for a metric label.
    pub fn kind(&self) -> &'static str {
        match self {
            UnassignedReason::Unsettled => "unsettled",
            UnassignedReason::NotExplored => "not_explored",
            UnassignedReason::AwaitingShard { .. } => "awaiting_shard",
            UnassignedReason::NoRoom { .. } => "no_room",
            UnassignedReason::TooBig { .. } => "too_big",
        }
    }
}

impl fmt::Display for UnassignedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnassignedReason::Unsettled => f.write_str("not every shard has been read since the coordinator started"),
            UnassignedReason::NotExplored => f.write_str("not explored yet"),
            UnassignedReason::AwaitingShard { count } => write!(f, "waiting for a new shard with room for {}", Size(*count)),
            UnassignedReason::NoRoom { count, barrier } => write!(f, "no shard has room for {}: {barrier}", Size(*count)),
            UnassignedReason::TooBig { count, barrier } => {
                write!(f, "exceeds the limit of a shard by itself with {}: {barrier}", Size(*count))
            }
        }
    }
}

/// A size in words: `90 series`, with the total where metric relabelling makes a difference.
struct Size(SeriesCount);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SeriesCount { series, total } = self.0;
        if series == total { write!(f, "{series} series") } else { write!(f, "{series} of {total} series") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: TargetHash = TargetHash(7);
    const COUNT: SeriesCount = SeriesCount { series: 90, total: 120 };

    #[test]
    fn words_and_texts_of_decisions() {
        let relief = MoveReason::Relief { load: SeriesCount { series: 110, total: 110 } };
        for (decision, kind, text) in [
            (Decision::Collected { target: T, shard: 1 }, "collect", "shard 1 drops 7: not active any more"),
            (
                Decision::DoubleReleased { target: T, shard: 1, keeper: 0 },
                "release_double",
                "shard 1 drops 7: shard 0 has it too",
            ),
            (Decision::Reverted { target: T, shard: 1 }, "revert", "shard 1 keeps 7: nobody takes it over"),
            (
                Decision::MoveStarted { target: T, count: COUNT, from: 1, to: 2, why: relief },
                "alleviate",
                "7 (90 of 120 series) moves from shard 1 to shard 2: shard 1 is over its limit with 110 series",
            ),
            (
                Decision::MoveStarted { target: T, count: COUNT, from: 1, to: 0, why: MoveReason::Drain },
                "drain",
                "7 (90 of 120 series) moves from shard 1 to shard 0: shard 1 is being emptied",
            ),
            (
                Decision::TakenBack { target: T, from: 1, to: 2, waited: Duration::from_secs(76) },
                "take_back",
                "shard 1 takes 7 back: shard 2 has not taken over within 76s",
            ),
        ] {
            assert_eq!((decision.kind(), decision.to_string().as_str()), (kind, text));
            assert_eq!(decision.target(), T);
        }
    }

    #[test]
    fn words_and_texts_of_reasons() {
        let barrier = Barrier::MostLost { lost: 3, listed: 4 };
        let reason = UnassignedReason::NoRoom { count: COUNT, barrier };
        assert_eq!((reason.kind(), barrier.kind()), ("no_room", "most_lost"));
        assert_eq!(reason.to_string(), "no shard has room for 90 of 120 series: 3 of 4 shards are unreachable");
        let scale = ScaleReason::Need { targets: 5, foreseen: 0, need: COUNT, added: 2, barrier: Some(Barrier::MaxShards(9)) };
        assert_eq!(scale.kind(), "need");
        assert_eq!(
            scale.to_string(),
            "2 more for 5 targets without room (90 of 120 series), which is not enough: at most 9 shards allowed"
        );
    }
}
