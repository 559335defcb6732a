//! Gives shards back what they had.

use kvass_model::{TargetHash, TargetState};

use crate::{Decision, limits::FULL, working::Working};

/// Gives each changeable shard the targets it is remembered with and nobody holds now, as far as they fit.
///
/// A shard that lost its volume thus gets its old list, not a new plan: its targets' series stay together,
/// and nothing has to be explored again. A full head is no obstacle, it is full of these very targets.
pub(crate) fn remembered(working: &mut Working<'_>) {
    let changeable: Vec<u32> = working.shards.iter().filter(|(_, shard)| shard.changeable).map(|(o, _)| *o).collect();
    for shard in changeable {
        let Some(view) = working.snapshot.shards.get(&shard) else { continue };
        let homeless =
            |target: &&TargetHash| working.snapshot.targets.contains_key(target) && working.holders(**target).is_empty();
        let mut targets: Vec<TargetHash> = view.remembered.keys().filter(homeless).copied().collect();
        working.largest_first(&mut targets);
        for target in targets {
            let count = working.sizes.count(target);
            if working.shards.get(&shard).is_some_and(|entry| entry.room().takes(count, working.limits, FULL)) {
                working.insert(target, shard, TargetState::Normal);
                working.decisions.push(Decision::GivenBack { target, shard });
            }
        }
    }
}
