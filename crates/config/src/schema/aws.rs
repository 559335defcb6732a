//! Discovery sections that ask AWS.

use super::{Kind, Schema, http};

static ACCESS: Schema = Schema::strict(
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

pub(super) static EC2: Schema = Schema::strict(&[("filters", FILTERS)], &[&ACCESS]);

pub(super) static LIGHTSAIL: Schema = Schema::strict(&[], &[&ACCESS]);

pub(super) static CLUSTERED: Schema =
    Schema::strict(&[("clusters", Kind::List(&Kind::Text)), ("request_concurrency", Kind::Int)], &[&ACCESS]);

pub(super) static AWS: Schema =
    Schema::strict(&[("role", Kind::Text), ("filters", FILTERS), ("clusters", Kind::List(&Kind::Text))], &[&ACCESS]);
