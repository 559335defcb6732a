//! Discovery sections that ask a service by a protocol of its own.

use super::{Kind, Schema, http};

pub(super) static DNS: Schema = Schema::of(
    &[("names", Kind::List(&Kind::Text)), ("refresh_interval", Kind::Duration), ("type", Kind::Text), ("port", Kind::Int)],
    &[],
);

pub(super) static CONSUL: Schema = Schema::of(
    &[
        ("server", Kind::Text),
        ("path_prefix", Kind::Text),
        ("token", Kind::Secret),
        ("datacenter", Kind::Text),
        ("namespace", Kind::Text),
        ("partition", Kind::Text),
        ("tag_separator", Kind::Text),
        ("scheme", Kind::Text),
        ("username", Kind::Text),
        ("password", Kind::Secret),
        ("allow_stale", Kind::Bool),
        ("refresh_interval", Kind::Duration),
        ("services", Kind::List(&Kind::Text)),
        ("tags", Kind::List(&Kind::Text)),
        ("node_meta", Kind::Free(&Kind::Text)),
        ("filter", Kind::Text),
        ("health_filter", Kind::Text),
    ],
    &[&http::CLIENT],
);

pub(super) static DOCKER: Schema = Schema::of(
    &[
        ("host", Kind::Url),
        ("port", Kind::Int),
        ("filters", Kind::List(&Kind::Section(&FILTER))),
        ("host_networking_host", Kind::Text),
        ("refresh_interval", Kind::Duration),
        ("match_first_network", Kind::Bool),
    ],
    &[&http::CLIENT],
);

pub(super) static DOCKER_SWARM: Schema = Schema::of(
    &[
        ("host", Kind::Url),
        ("role", Kind::Text),
        ("port", Kind::Int),
        ("filters", Kind::List(&Kind::Section(&FILTER))),
        ("refresh_interval", Kind::Duration),
    ],
    &[&http::CLIENT],
);

pub(super) static FILTER: Schema = Schema::of(&[("name", Kind::Text), ("values", Kind::List(&Kind::Text))], &[]);

pub(super) static NOMAD: Schema = Schema::of(
    &[
        ("allow_stale", Kind::Bool),
        ("namespace", Kind::Text),
        ("refresh_interval", Kind::Duration),
        ("region", Kind::Text),
        ("server", Kind::Text),
        ("tag_separator", Kind::Text),
    ],
    &[&http::CLIENT],
);

pub(super) static EUREKA: Schema = Schema::of(&[("server", Kind::Url), ("refresh_interval", Kind::Duration)], &[&http::CLIENT]);

pub(super) static MARATHON: Schema = Schema::of(
    &[
        ("servers", Kind::List(&Kind::Text)),
        ("refresh_interval", Kind::Duration),
        ("auth_token", Kind::Secret),
        ("auth_token_file", Kind::Path),
    ],
    &[&http::CLIENT],
);

pub(super) static PUPPETDB: Schema = Schema::of(
    &[
        ("refresh_interval", Kind::Duration),
        ("url", Kind::Url),
        ("query", Kind::Text),
        ("include_parameters", Kind::Bool),
        ("port", Kind::Int),
    ],
    &[&http::CLIENT],
);
