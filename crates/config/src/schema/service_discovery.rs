use super::{Kind, Schema, aws, clouds, http, iaas, mechanisms, without_code};

/// The discovery sections of a job or an Alertmanager.
pub(super) static SERVICE_DISCOVERY: Schema = Schema::of(
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
        ("elasticache_sd_configs", Kind::List(&Kind::Section(&aws::CLUSTERED))),
        ("eureka_sd_configs", Kind::List(&Kind::Section(&mechanisms::EUREKA))),
        ("gce_sd_configs", Kind::List(&Kind::Section(&iaas::GCE))),
        ("hetzner_sd_configs", Kind::List(&Kind::Section(&clouds::HETZNER))),
        ("ionos_sd_configs", Kind::List(&Kind::Section(&clouds::IONOS))),
        ("kuma_sd_configs", Kind::List(&Kind::Section(&without_code::KUMA))),
        ("lightsail_sd_configs", Kind::List(&Kind::Section(&aws::LIGHTSAIL))),
        ("linode_sd_configs", Kind::List(&Kind::Section(&clouds::LINODE))),
        ("marathon_sd_configs", Kind::List(&Kind::Section(&mechanisms::MARATHON))),
        ("msk_sd_configs", Kind::List(&Kind::Section(&aws::CLUSTERED))),
        ("nerve_sd_configs", Kind::List(&Kind::Section(&without_code::ZOOKEEPER))),
        ("nomad_sd_configs", Kind::List(&Kind::Section(&mechanisms::NOMAD))),
        ("oci_sd_configs", Kind::List(&Kind::Section(&without_code::OCI))),
        ("openstack_sd_configs", Kind::List(&Kind::Section(&iaas::OPENSTACK))),
        ("outscale_sd_configs", Kind::List(&Kind::Section(&without_code::OUTSCALE))),
        ("ovhcloud_sd_configs", Kind::List(&Kind::Section(&iaas::OVHCLOUD))),
        ("puppetdb_sd_configs", Kind::List(&Kind::Section(&mechanisms::PUPPETDB))),
        ("rds_sd_configs", Kind::List(&Kind::Section(&aws::RDS))),
        ("scaleway_sd_configs", Kind::List(&Kind::Section(&clouds::SCALEWAY))),
        ("serverset_sd_configs", Kind::List(&Kind::Section(&without_code::ZOOKEEPER))),
        ("stackit_sd_configs", Kind::List(&Kind::Section(&without_code::STACKIT))),
        ("triton_sd_configs", Kind::List(&Kind::Section(&without_code::TRITON))),
        ("uyuni_sd_configs", Kind::List(&Kind::Section(&without_code::UYUNI))),
        ("vultr_sd_configs", Kind::List(&Kind::Section(&clouds::VULTR))),
    ],
    &[],
);

/// Content of a file that service discovery reads.
pub(crate) static TARGET_GROUPS: Kind = Kind::List(&Kind::Section(&STATIC));

static STATIC: Schema = Schema::of(&[("targets", Kind::List(&Kind::Text)), ("labels", Kind::Labels)], &[]);

static FILE: Schema = Schema::of(&[("files", Kind::List(&Kind::TargetFile)), ("refresh_interval", Kind::Duration)], &[]);

static HTTP: Schema = Schema::of(&[("url", Kind::Url), ("refresh_interval", Kind::Duration)], &[&http::CLIENT]);

static KUBERNETES: Schema = Schema::of(
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

static NAMESPACES: Schema = Schema::of(&[("own_namespace", Kind::Bool), ("names", Kind::List(&Kind::Text))], &[]);

static SELECTOR: Schema = Schema::of(&[("role", Kind::Text), ("label", Kind::Text), ("field", Kind::Text)], &[]);

static ATTACH_METADATA: Schema = Schema::of(
    &[("node", Kind::Bool), ("namespace", Kind::Bool), ("deployment", Kind::Bool), ("job", Kind::Bool), ("cronjob", Kind::Bool)],
    &[],
);
