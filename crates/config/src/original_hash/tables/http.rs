//! HTTP clients.

use super::{Default, Kind, Member, Rule, Type, member, structure};

const CLIENT_MEMBERS: &[Member] = &[
    member("BasicAuth", "basic_auth", Kind::Optional(&BASIC_AUTH)),
    member("Authorization", "authorization", Kind::Optional(&AUTHORIZATION)),
    member("OAuth2", "oauth2", Kind::Optional(&OAUTH2)),
    member("BearerToken", "bearer_token", Kind::Text),
    member("BearerTokenFile", "bearer_token_file", Kind::Text),
    member("ProxyURL", "proxy_url", Kind::Url),
    member("TLSConfig", "tls_config", Kind::Inside(&TLS)),
    member("FollowRedirects", "follow_redirects", Kind::Bool).or(Default::True),
];

pub(super) static CLIENT: Type = structure("HTTPClientConfig", CLIENT_MEMBERS).with(Rule::Authorization);

/// HTTP discovery forgets to finish its client.
pub(super) static UNFINISHED_CLIENT: Type = structure("HTTPClientConfig", CLIENT_MEMBERS);

pub(in super::super) static BASIC_AUTH: Type = structure(
    "BasicAuth",
    &[
        member("Username", "username", Kind::Text),
        member("Password", "password", Kind::Text),
        member("PasswordFile", "password_file", Kind::Text),
    ],
);

pub(in super::super) static AUTHORIZATION: Type = structure(
    "Authorization",
    &[
        member("Type", "type", Kind::Text),
        member("Credentials", "credentials", Kind::Text),
        member("CredentialsFile", "credentials_file", Kind::Text),
    ],
);

static OAUTH2: Type = structure(
    "OAuth2",
    &[
        member("ClientID", "client_id", Kind::Text),
        member("ClientSecret", "client_secret", Kind::Text),
        member("ClientSecretFile", "client_secret_file", Kind::Text),
        member("Scopes", "scopes", Kind::Texts),
        member("TokenURL", "token_url", Kind::Text),
        member("EndpointParams", "endpoint_params", Kind::TextMap),
        member("TLSConfig", "tls_config", Kind::Inside(&TLS)),
    ],
);

pub(super) static TLS: Type = structure(
    "TLSConfig",
    &[
        member("CAFile", "ca_file", Kind::Text),
        member("CertFile", "cert_file", Kind::Text),
        member("KeyFile", "key_file", Kind::Text),
        member("ServerName", "server_name", Kind::Text),
        member("InsecureSkipVerify", "insecure_skip_verify", Kind::Bool),
    ],
);
