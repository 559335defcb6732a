//! What a configuration names and holds, with the places: for those who advise its writer.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use crate::{
    cursor::Cursor,
    schema::{INCLUDED, Kind, MAIN, walk},
    url_text,
    yaml::Node,
};

/// Where in which file something stands. Shown as `prometheus.yml:4:3: scrape_configs[0].bearer_token`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The main file or one that it includes.
    pub file: PathBuf,
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// Keys and indexes that lead there.
    pub key: String,
}

/// A file that the configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    /// Where it is named.
    pub place: Place,
    /// Its path, or a pattern of paths; absolute if the configuration's own path was.
    pub path: String,
    /// What it is for.
    pub purpose: FilePurpose,
}

/// What a named file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilePurpose {
    /// A credential, certificate or key, which is read.
    Credential,
    /// Rules.
    Rules,
    /// Further jobs.
    Jobs,
    /// Target groups, read and watched by service discovery. It may come later.
    Targets,
    /// A log, which is written.
    Log,
}

/// A secret that stands in the configuration itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InlineSecret {
    /// Where it stands.
    pub place: Place,
    /// How it is known for one.
    pub form: SecretForm,
}

/// How a value is known to be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretForm {
    /// The key holds nothing else; it is masked wherever the configuration is shown.
    Key,
    /// A password in a URL; masked, too.
    UrlPassword,
    /// The name of the header or parameter says so. Prometheus shows it to everybody.
    Guessed,
}

/// A target of `static_configs` of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticTarget {
    /// Where it stands.
    pub place: Place,
    /// Name of the job.
    pub job: String,
    /// Index of its group among all static ones of the job.
    pub group: usize,
    /// Index in its group.
    pub target: usize,
}

/// The keys of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobKeys {
    /// Name of the job.
    pub job: String,
    /// Keys and the places of their values, in the order of the document.
    pub keys: Vec<(String, Place)>,
}

/// What a configuration names and holds; see [`Config::survey`](crate::Config::survey).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// In the order of the documents.
    pub files: Vec<NamedFile>,
    /// In the order of the documents.
    pub secrets: Vec<InlineSecret>,
    /// In the order of the documents.
    pub static_targets: Vec<StaticTarget>,
    /// In the order of the documents.
    pub jobs: Vec<JobKeys>,
    /// Top-level keys of the main file that are not empty, in its order.
    pub sections: Vec<String>,
}

impl Survey {
    pub(crate) fn of(path: &Path, main: &Node, included: &[(PathBuf, Node)]) -> Survey {
        let mut survey = Survey::default();
        let filled = main
            .entries()
            .iter()
            .filter(|entry| !entry.value.is_null() && (!entry.value.items().is_empty() || !entry.value.entries().is_empty()));
        survey.sections = filled.map(|entry| entry.key.as_text().to_owned()).collect();
        survey.add(&MAIN, Cursor::root(path, main));
        for (file, document) in included {
            survey.add(&INCLUDED, Cursor::root(file, document));
        }
        survey
    }

    fn add(&mut self, kind: &'static Kind, root: Cursor<'_>) {
        walk(kind, root, &mut |kind, value| {
            let Some(text) = value.node().as_scalar().map(|scalar| scalar.as_text()).filter(|text| !text.is_empty()) else {
                return;
            };
            let place = place(value);
            if let Some(form) = secret(kind, text, &place.key) {
                self.secrets.push(InlineSecret { place, form });
            } else if let Some(purpose) = purpose(kind, &place.key) {
                self.files.push(NamedFile { place, path: text.to_owned(), purpose });
            }
        });
        for job in root.get("scrape_configs").iter().flat_map(|list| list.items()) {
            let name = job.text("job_name").unwrap_or_default();
            let keys = job.pairs().map(|(key, value)| (key.to_owned(), place(value))).collect();
            self.jobs.push(JobKeys { job: name.to_owned(), keys });
            for (group, section) in job.get("static_configs").iter().flat_map(|list| list.items()).enumerate() {
                for (target, address) in section.get("targets").iter().flat_map(|list| list.items()).enumerate() {
                    self.static_targets.push(StaticTarget { place: place(address), job: name.to_owned(), group, target });
                }
            }
        }
    }
}

fn place(cursor: Cursor<'_>) -> Place {
    let at = cursor.node().at;
    Place { file: cursor.file().to_owned(), line: at.line, column: at.column, key: cursor.path() }
}

fn secret(kind: &Kind, text: &str, key: &str) -> Option<SecretForm> {
    if matches!(kind, Kind::Secret) {
        return Some(SecretForm::Key);
    }
    if url_text::mask_password(text) != text {
        return Some(SecretForm::UrlPassword);
    }
    // `http_headers.NAME.values[0]`, `headers.NAME`, `params.NAME[0]`, `endpoint_params.NAME`: the names are the user's.
    let name = key.split_once("headers.").or_else(|| key.split_once("params.")).map(|(_, name)| name)?;
    (matches!(kind, Kind::Text) && sounds_secret(name)).then_some(SecretForm::Guessed)
}

/// Whether the name of a header or of a parameter says that its value is a secret.
pub fn sounds_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let words = ["token", "secret", "password", "passwd", "api-key", "api_key", "apikey", "access-key", "access_key", "cookie"];
    words.iter().any(|word| name.contains(word))
}

fn purpose(kind: &Kind, key: &str) -> Option<FilePurpose> {
    Some(match kind {
        Kind::Path if key.ends_with("_log_file") => FilePurpose::Log,
        Kind::Path => FilePurpose::Credential,
        Kind::Pattern if key.starts_with("rule_files") => FilePurpose::Rules,
        Kind::Pattern => FilePurpose::Jobs,
        Kind::TargetFile => FilePurpose::Targets,
        _ => return None,
    })
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file.display(), self.line, self.column, self.key)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Config, LoadContext};

    const TEXT: &str = "\
scrape_configs:
- job_name: a
  basic_auth: {password: hunter2}
  tls_config: {ca_file: ca.pem}
  proxy_url: http://u:hunter2@h
  params: {api_key: [hunter2], module: [m]}
  http_headers: {X-Token: {values: [hunter2]}, X-Tenant: {values: [t]}}
  static_configs: [{targets: [x, y]}, {targets: [z]}]
  file_sd_configs: [{files: [sd/*.json]}]
  azure_sd_configs: []
rule_files: [r.yml]
storage: {}
remote_write: [{url: http://w, headers: {Cookie: hunter2}}]
global: {query_log_file: q.log}
";

    #[test]
    fn files_and_secrets_with_their_places() {
        let context =
            LoadContext { path: "/d/p.yml".into(), line: Default::default(), env: &|_| None, read_glob: &|_| Ok(Vec::new()) };
        let survey = Config::parse(TEXT, &context).unwrap().survey();
        let files: Vec<String> =
            survey.files.iter().map(|file| format!("{} {} {:?}", file.place, file.path, file.purpose)).collect();
        assert_eq!(
            files,
            [
                "/d/p.yml:4:25: scrape_configs[0].tls_config.ca_file /d/ca.pem Credential",
                "/d/p.yml:9:30: scrape_configs[0].file_sd_configs[0].files[0] /d/sd/*.json Targets",
                "/d/p.yml:11:14: rule_files[0] /d/r.yml Rules",
                "/d/p.yml:14:26: global.query_log_file /d/q.log Log",
            ]
        );
        let secrets: Vec<String> =
            survey.secrets.iter().map(|secret| format!("{} {} {:?}", secret.place.line, secret.place.key, secret.form)).collect();
        assert_eq!(
            secrets,
            [
                "3 scrape_configs[0].basic_auth.password Key",
                "5 scrape_configs[0].proxy_url UrlPassword",
                "6 scrape_configs[0].params.api_key[0] Guessed",
                "7 scrape_configs[0].http_headers.X-Token.values[0] Guessed",
                "13 remote_write[0].headers.Cookie Guessed",
            ]
        );
        let targets: Vec<_> = survey.static_targets.iter().map(|t| (t.place.column, t.group, t.target)).collect();
        assert_eq!(targets, [(31, 0, 0), (34, 0, 1), (50, 1, 0)]);
        let keys: Vec<&str> = survey.jobs[0].keys.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!((survey.jobs[0].job.as_str(), keys[0], keys[7]), ("a", "job_name", "file_sd_configs"));
        assert_eq!(survey.sections, ["scrape_configs", "rule_files", "remote_write", "global"]);
    }
}
