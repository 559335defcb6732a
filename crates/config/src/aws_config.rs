//! Typed views of the discovery sections that ask AWS.

use crate::{CloudApi, Secret};

/// Who asks AWS, and where; the same in all of its sections.
#[derive(Clone, Debug, PartialEq)]
pub struct AwsAccess {
    /// Empty means that of the environment, of the profile or of the machine.
    pub region: String,
    /// URL that takes the place of the region's own, empty for that one.
    pub endpoint: String,
    /// Counts only together with the secret one.
    pub access_key: String,
    /// The secret half of the key.
    pub secret_key: Option<Secret>,
    /// Profile of the shared files, empty for that of the environment.
    pub profile: String,
    /// Role to assume with the credentials found, empty for none.
    pub role_arn: String,
    /// Told when the role is assumed.
    pub external_id: String,
    /// How it is asked.
    pub api: CloudApi,
}

/// Targets from AWS.
#[derive(Clone, Debug, PartialEq)]
pub struct AwsSdConfig {
    /// What is listed.
    pub role: AwsRole,
    /// Who asks, and where.
    pub access: AwsAccess,
    /// Names and values of filters on what is listed.
    pub filters: Vec<(String, Vec<String>)>,
    /// Clusters whose members are listed, none for all.
    pub clusters: Vec<String>,
}

/// What an AWS discovery lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AwsRole {
    /// Virtual machines of EC2.
    Ec2,
    /// Tasks of the Elastic Container Service.
    Ecs,
    /// Virtual machines of Lightsail.
    Lightsail,
    /// Brokers and controllers of Managed Streaming for Apache Kafka.
    Msk,
}
