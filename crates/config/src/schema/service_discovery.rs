use super::{Kind, Schema, aws, clouds, http, iaas, mechanisms};

/// The discovery sections of a job or an Alertmanager.
pub(super) static SERVICE_DISCOVERY: Schema = Schema::strict(
    &[
        ("static_configs", Kind::List(&Kind::Section(&STATIC))),
        ("file_sd_configs", Kind::List(&Kind::Section(&FILE))),
        ("http_sd_configs", Kind::List(&Kind::Section(&HTTP))),
        ("kubernetes_sd_configs", Kind::List(&Kind::Section(&KUBERNETES))),
        ("aws_sd_configs", Kind::List(&Kind::Section(&aws::AWS))),
        ("azure_sd_configs", Kind::PathsAsGiven(&Kind::List(&Kind::Section(&iaas::AZURE)))),
        ("consul_sd_configs", Kind::List(&Kind::Section(&mechanisms::CONSUL))),
        ("digitalocean_sd_configs", Kind::List(&Kind::Section(&clouds::DIGITALOCEAN))),
        ("dns_sd_configs", Kind::List(&Kind::Section(&mechanisms::DNS))),
        ("docker_sd_configs", Kind::List(&Kind::Section(&mechanisms::DOCKER))),
        ("dockerswarm_sd_configs", Kind::List(&Kind::Section(&mechanisms::DOCKER_SWARM))),
        ("ec2_sd_configs", Kind::List(&Kind::Section(&aws::EC2))),
        ("ecs_sd_configs", Kind::List(&Kind::Section(&aws::CLUSTERED))),
        ("elasticache_sd_configs", OTHER),
        ("eureka_sd_configs", Kind::List(&Kind::Section(&mechanisms::EUREKA))),
        ("gce_sd_configs", Kind::List(&Kind::Section(&iaas::GCE))),
        ("hetzner_sd_configs", Kind::List(&Kind::Section(&clouds::HETZNER))),
        ("ionos_sd_configs", Kind::List(&Kind::Section(&clouds::IONOS))),
        ("kuma_sd_configs", OTHER),
        ("lightsail_sd_configs", Kind::List(&Kind::Section(&aws::LIGHTSAIL))),
        ("linode_sd_configs", Kind::List(&Kind::Section(&clouds::LINODE))),
        ("marathon_sd_configs", Kind::List(&Kind::Section(&mechanisms::MARATHON))),
        ("msk_sd_configs", Kind::List(&Kind::Section(&aws::CLUSTERED))),
        ("nerve_sd_configs", OTHER),
        ("nomad_sd_configs", Kind::List(&Kind::Section(&mechanisms::NOMAD))),
        ("oci_sd_configs", OTHER),
        ("openstack_sd_configs", Kind::List(&Kind::Section(&iaas::OPENSTACK))),
        ("outscale_sd_configs", OTHER),
        ("ovhcloud_sd_configs", Kind::List(&Kind::Section(&iaas::OVHCLOUD))),
        ("puppetdb_sd_configs", Kind::List(&Kind::Section(&mechanisms::PUPPETDB))),
        ("rds_sd_configs", OTHER),
        ("scaleway_sd_configs", Kind::List(&Kind::Section(&clouds::SCALEWAY))),
        ("serverset_sd_configs", OTHER),
        ("stackit_sd_configs", OTHER),
        ("triton_sd_configs", OTHER),
        ("uyuni_sd_configs", OTHER),
        ("vultr_sd_configs", Kind::List(&Kind::Section(&clouds::VULTR))),
    ],
    &[],
);

const OTHER: Kind = Kind::List(&Kind::Section(&OTHER_SD));

/// Mechanisms kvass has no code for: their secrets and paths, whichever of them has which.
static OTHER_SD: Schema = Schema::open(
    &[
        ("auth_token", Kind::Secret),
        ("auth_token_file", Kind::Path),
        ("key_file", Kind::Path),
        ("key_passphrase", Kind::Secret),
        ("key_passphrase_file", Kind::Path),
        ("password", Kind::Secret),
        ("private_key", Kind::Secret),
        ("secret_key", Kind::Secret),
        ("secret_key_file", Kind::Path),
        ("service_account_key", Kind::Secret),
        ("token", Kind::Secret),
    ],
    &[&http::CLIENT],
);

/// Content of a file that service discovery reads.
pub(crate) static TARGET_GROUPS: Kind = Kind::List(&Kind::Section(&STATIC));

static STATIC: Schema = Schema::strict(&[("targets", Kind::List(&Kind::Text)), ("labels", Kind::Labels)], &[]);

static FILE: Schema = Schema::strict(&[("files", Kind::List(&Kind::TargetFile)), ("refresh_interval", Kind::Duration)], &[]);

static HTTP: Schema = Schema::strict(&[("url", Kind::Url), ("refresh_interval", Kind::Duration)], &[&http::CLIENT]);

static KUBERNETES: Schema = Schema::strict(
    &[
        ("api_server", Kind::Url),
        ("role", Kind::Text),
        ("kubeconfig_file", Kind::Path),
        ("namespaces", Kind::Section(&NAMESPACES)),
        ("selectors", Kind::List(&Kind::Section(&SELECTOR))),
        ("attach_metadata", Kind::Section(&ATTACH_METADATA)),
    ],
    &[&http::CLIENT],
);

static NAMESPACES: Schema = Schema::strict(&[("own_namespace", Kind::Bool), ("names", Kind::List(&Kind::Text))], &[]);

static SELECTOR: Schema = Schema::strict(&[("role", Kind::Text), ("label", Kind::Text), ("field", Kind::Text)], &[]);

static ATTACH_METADATA: Schema = Schema::strict(
    &[("node", Kind::Bool), ("namespace", Kind::Bool), ("deployment", Kind::Bool), ("job", Kind::Bool), ("cronjob", Kind::Bool)],
    &[],
);
