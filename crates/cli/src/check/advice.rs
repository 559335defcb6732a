//! What kvass makes of a configuration that Prometheus takes, and what its writer may want to change.

use kvass_config::{
    Config, FilePurpose, InlineSecret, NamedFile, ScrapeConfig, SdConfig, SecretForm, Survey, is_kept_from_shards,
};
use kvass_model::format_prometheus_duration;
use kvass_scrape::{ClientOptions, JobClients};
use kvass_service::config_file::chain;

/// inotify instances that the containers of a node share by default, one of which each job of a Prometheus takes.
const INOTIFY_INSTANCES: usize = 128;
/// More secrets than this are counted, not listed.
const LISTED: usize = 10;

/// What goes to each shard, in a few lines.
pub(super) fn shards_get(config: &Config, survey: &Survey) -> Vec<String> {
    let as_written: Vec<&str> = survey
        .sections
        .iter()
        .map(String::as_str)
        .filter(|key| !["scrape_configs", "scrape_config_files"].contains(key))
        .collect();
    let mut notes = Vec::new();
    if !as_written.is_empty() {
        notes.push(format!("each shard gets as written: {}", as_written.join(", ")));
    }
    if survey.sections.iter().any(|key| key == "scrape_config_files") {
        notes.push("scrape_config_files: their jobs are written into the shards' own file".to_owned());
    }
    if !config.jobs().is_empty() {
        notes.push(
            "each shard gets every job, with its own part of the targets; what finds and reaches targets stays with coordinator \
             and sidecar"
                .to_owned(),
        );
    }
    for job in config.jobs() {
        let keys = survey.jobs.iter().find(|keys| keys.job == *job.job_name).map(|keys| keys.keys.as_slice()).unwrap_or_default();
        let kept: Vec<&str> = keys.iter().map(|(key, _)| key.as_str()).filter(|key| is_kept_from_shards(key)).collect();
        let kept = if kept.is_empty() { "nothing".to_owned() } else { kept.join(", ") };
        let interval = format_prometheus_duration(job.scrape_interval);
        notes.push(format!("job {}: every {interval}; kept from shards: {kept}", job.job_name));
    }
    notes
}

/// What works, but perhaps not as meant. `is_public`: every user may read the file.
pub(super) fn advice(config: &Config, survey: &Survey, is_public: bool) -> Vec<String> {
    let mut advice: Vec<String> = config.warnings().to_vec();
    advice.extend(discovery(config, survey));
    advice.extend(clients(config));
    advice.extend(surroundings(config, survey));
    advice.extend(config.jobs().iter().filter_map(|job| over_limit(job)));
    advice.extend(sections(config, survey));
    advice.extend(secrets(survey, is_public));
    advice
}

fn discovery(config: &Config, survey: &Survey) -> Vec<String> {
    let mut advice = Vec::new();
    for job in config.jobs() {
        if job.service_discovery.is_empty() {
            advice.push(format!("job {}: has no service discovery, so it has no targets", job.job_name));
        }
        for section in &job.service_discovery {
            let SdConfig::Other(other) = section else { continue };
            let key = &other.key;
            let keys = survey.jobs.iter().find(|keys| keys.job == *job.job_name);
            let place = keys.and_then(|keys| keys.keys.iter().find(|(known, _)| known == key)).map(|(_, place)| place);
            let place = place.map(|place| format!("{place}: ")).unwrap_or_default();
            advice.push(format!(
                "{place}kvass has no code for this discovery: without --discovery.prometheus-url job {} gets no targets of it",
                job.job_name
            ));
        }
    }
    if config.jobs().len() >= INOTIFY_INSTANCES {
        advice.push(format!(
            "{} jobs: each takes one of the inotify instances of a node, {INOTIFY_INSTANCES} by default (fs.inotify.max_user_instances); \
             where they are short the sidecar changes to HTTP discovery",
            config.jobs().len()
        ));
    }
    advice
}

/// Settings of clients that Prometheus has and kvass has not.
fn clients(config: &Config) -> Vec<String> {
    let failed = JobClients::new(ClientOptions::default()).apply(config.jobs());
    failed.into_iter().map(|(job, error)| format!("job {job}: its targets cannot be scraped: {}", chain(&error))).collect()
}

/// What jobs find in the container that scrapes, which is no longer that of Prometheus.
fn surroundings(config: &Config, survey: &Survey) -> Vec<String> {
    let of_a_job = |file: &&NamedFile| file.purpose == FilePurpose::Credential && file.place.key.starts_with("scrape_configs[");
    let file = survey.files.iter().find(of_a_job).map(|file| {
        let place = &file.place;
        format!("{place}: coordinator and sidecar read the files that jobs name: both need them, under the same paths")
    });
    let proxy =
        config.jobs().iter().find(|job| job.http.proxy.from_environment).map(|job| {
            format!("job {}: proxy_from_environment: the environment of coordinator and sidecar counts", job.job_name)
        });
    file.into_iter().chain(proxy).collect()
}

/// A job whose static targets alone are too many has none scraped.
fn over_limit(job: &ScrapeConfig) -> Option<String> {
    let groups = job.service_discovery.iter().filter_map(|section| match section {
        SdConfig::Static(groups) => Some(groups),
        _ => None,
    });
    let found: usize = groups.flatten().map(|group| group.targets.len()).sum();
    // Rules may drop some.
    let is_over = job.relabel_configs.is_empty() && job.target_limit > 0 && found as u64 > job.target_limit;
    is_over.then(|| {
        format!(
            "job {}: has {found} static targets and a target_limit of {}: none of them is scraped",
            job.job_name, job.target_limit
        )
    })
}

fn sections(config: &Config, survey: &Survey) -> Vec<String> {
    let has = |key: &str| survey.sections.iter().any(|section| section == key);
    let mut advice = Vec::new();
    if has("rule_files") || has("alerting") {
        advice.push(
            "rule_files, alerting: on each shard rules see only its own targets; leave them out with --inject.strip-rules and \
             evaluate over all shards (Thanos Ruler) where a rule needs more than one target"
                .to_owned(),
        );
    }
    if has("remote_write") {
        advice.push(
            "remote_write: while a target moves, two shards send it; give each shard a label of its own with --inject.external-label"
                .to_owned(),
        );
    }
    if has("remote_read") {
        advice.push("remote_read: every shard asks for the same data".to_owned());
    }
    if !config.external_labels().is_empty() && !has("remote_write") {
        advice.push(
            "external_labels: all shards have the same; Thanos needs one that differs, --inject.external-label gives it"
                .to_owned(),
        );
    }
    advice
}

fn secrets(survey: &Survey, is_public: bool) -> Vec<String> {
    let mut advice = Vec::new();
    for secret in survey.secrets.iter().take(LISTED) {
        advice.push(format!("{}: {}", secret.place, meaning(secret)));
    }
    if survey.secrets.len() > LISTED {
        advice.push(format!("{} more values are secrets", survey.secrets.len() - LISTED));
    }
    if is_public && !survey.secrets.is_empty() {
        advice
            .push("every user of this machine may read the file, which holds secrets: expected mode 0640 or stricter".to_owned());
    }
    advice
}

fn meaning(secret: &InlineSecret) -> &'static str {
    match secret.form {
        SecretForm::Key if !has_file_key(&secret.place.key) => {
            "a secret in the file: keep it in a Secret rather than a ConfigMap, there is no key that names a file"
        }
        SecretForm::Key => "a secret in the file: name a file that holds it, with the key of the same name and _file",
        SecretForm::UrlPassword => {
            "a password in a URL: it is masked only where it is known to be one; use basic_auth with password_file"
        }
        SecretForm::Guessed => "looks like a secret, and Prometheus shows it to all who may see its configuration or targets",
    }
}

/// Whether Prometheus knows the same key with `_file`.
fn has_file_key(key: &str) -> bool {
    let (section, last) = key.rsplit_once('.').unwrap_or(("", key));
    match last {
        "credentials" | "bearer_token" | "key" | "client_certificate_key" | "auth_token" | "key_passphrase" => true,
        "client_secret" => section.ends_with("oauth2"),
        "password" => section.ends_with("basic_auth"),
        "secret_key" => section.contains("scaleway_") || section.contains("outscale_"),
        _ => last.starts_with("secrets["),
    }
}
