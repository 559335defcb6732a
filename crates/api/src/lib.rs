//! The wire: requests and responses exactly as Kvass' coordinator and sidecars exchange them, and the
//! client the coordinator reaches a shard with. The one place where members keep their historical
//! capitals (`TargetState`, `ConfigHash`, `Targets`).

mod envelope;
mod shard_client;
mod time;
mod wire;

pub use envelope::{ApiError, ApiResult, Envelope, ErrorType, json_body, ok, ok_empty};
pub use shard_client::{ClientError, ShardClient, USER_AGENT_PREFIX, http_client};
pub use wire::{
    AssignedTarget, ExtraConfig, ExtraConfigAnswer, RawConfig, RuntimeInfo, ScrapeStatusWire, Statistics, StatusMap, Stored,
    TargetList, UpdateConfig, UpdateTargets, ValueCount, case_insensitive,
};
