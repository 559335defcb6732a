//! Discovery sections that ask AWS.

use super::{Kind, Schema, http};

static ACCESS: Schema = Schema::of(
    &[
        ("region", Kind::Text),
        ("endpoint", Kind::Text),
        ("access_key", Kind::Text),
        ("secret_key", Kind::Secret),
        ("profile", Kind::Text),
        ("role_arn", Kind::Text),
        ("external_id", Kind::Text),
        ("port", Kind::Int),
        ("refresh_interval", Kind::Duration),
    ],
    &[&http::CLIENT],
);

const FILTERS: Kind = Kind::List(&Kind::Section(&super::mechanisms::FILTER));

pub(super) static EC2: Schema = Schema::of(&[("filters", FILTERS)], &[&ACCESS]);

pub(super) static LIGHTSAIL: Schema = Schema::of(&[], &[&ACCESS]);

/// ECS and MSK, and ElastiCache, for which there is no code.
pub(super) static CLUSTERED: Schema =
    Schema::of(&[("clusters", Kind::List(&Kind::Text)), ("request_concurrency", Kind::Int)], &[&ACCESS]);

/// There is no code for it.
pub(super) static RDS: Schema = Schema::of(&[("filters", FILTERS)], &[&CLUSTERED]);

pub(super) static AWS: Schema =
    Schema::of(&[("role", Kind::Text), ("filters", FILTERS), ("clusters", Kind::List(&Kind::Text))], &[&ACCESS]);
