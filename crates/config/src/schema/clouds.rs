//! Discovery sections that ask a cloud provider for its servers.

use super::{Kind, Schema, http};

static API: Schema = Schema::of(&[("port", Kind::Int), ("refresh_interval", Kind::Duration)], &[&http::CLIENT]);

pub(super) static DIGITALOCEAN: Schema = Schema::of(&[("role", Kind::Text)], &[&API]);

pub(super) static HETZNER: Schema = Schema::of(&[("role", Kind::Text), ("label_selector", Kind::Text)], &[&API]);

pub(super) static IONOS: Schema = Schema::of(&[("datacenter_id", Kind::Text)], &[&API]);

pub(super) static LINODE: Schema = Schema::of(&[("tag_separator", Kind::Text), ("region", Kind::Text)], &[&API]);

pub(super) static VULTR: Schema = Schema::of(&[], &[&API]);

pub(super) static SCALEWAY: Schema = Schema::of(
    &[
        ("project_id", Kind::Text),
        ("api_url", Kind::Text),
        ("zone", Kind::Text),
        ("access_key", Kind::Text),
        ("secret_key", Kind::Secret),
        ("secret_key_file", Kind::Path),
        ("name_filter", Kind::Text),
        ("tags_filter", Kind::List(&Kind::Text)),
        ("role", Kind::Text),
    ],
    &[&API],
);
