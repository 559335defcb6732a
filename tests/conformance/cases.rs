//! The cases on disk: a configuration, what its service discovery finds, and what two versions of Prometheus made of it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use axum::{
    Router,
    extract::Path as UrlPath,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use kvass_model::PrometheusLine;
use serde::{Deserialize, Serialize};

use crate::picture::Picture;

/// Stands for the address of the server that answers `http_sd_configs`.
const SERVER: &str = "$SERVER";
/// Stands for the folder of the case.
const FOLDER: &str = "$FOLDER";

/// The versions that were asked, and whose rules they stand for.
pub(crate) const VERSIONS: [(&str, PrometheusLine); 2] = [("2.42", PrometheusLine::V2), ("3.16", PrometheusLine::V3)];

/// What a server made of a case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Outcome {
    /// The configuration is refused; the text is promtool's.
    Refused { error: String },
    /// These targets.
    Shown(Picture),
}

/// What kvass answers where it knowingly differs.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Divergence {
    pub(crate) why: String,
    pub(crate) kvass: Outcome,
}

pub(crate) struct Case {
    pub(crate) name: String,
    folder: PathBuf,
}

pub(crate) fn all() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/conformance/cases");
    let mut cases: Vec<Case> = fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|folder| Case { name: folder.file_name().unwrap().to_str().unwrap().to_owned(), folder })
        .collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    cases
}

impl Case {
    /// What was recorded, by version.
    pub(crate) fn expected(&self) -> BTreeMap<String, Outcome> {
        self.read("expected.json").unwrap_or_default()
    }

    /// The configuration as it stands in the case.
    pub(crate) fn config(&self) -> String {
        fs::read_to_string(self.folder.join("prometheus.yml")).unwrap()
    }

    /// Where kvass differs from that, and why, by version.
    pub(crate) fn divergences(&self) -> BTreeMap<String, Divergence> {
        self.read("divergence.json").unwrap_or_default()
    }

    pub(crate) fn write_expected(&self, expected: &BTreeMap<String, Outcome>) {
        self.write("expected.json", expected);
    }

    pub(crate) fn write_divergences(&self, divergences: &BTreeMap<String, Divergence>) {
        self.write("divergence.json", divergences);
    }

    fn read<T: serde::de::DeserializeOwned>(&self, file: &str) -> Option<T> {
        let text = fs::read_to_string(self.folder.join(file)).ok()?;
        Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}/{file}: {error}", self.name)))
    }

    fn write(&self, file: &str, value: &impl Serialize) {
        fs::write(self.folder.join(file), serde_json::to_string_pretty(value).unwrap() + "\n").unwrap();
    }

    /// Copies the case into `to` with `server` as the one that answers HTTP discovery.
    pub(crate) fn lay_out(&self, to: &Path, server: &str) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(&self.folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let text = fs::read_to_string(&path).unwrap();
                fs::write(to.join(path.file_name().unwrap()), text.replace(SERVER, server)).unwrap();
            }
        }
    }
}

/// Replaces what differs from run to run by the words that stand for it.
pub(crate) fn without_places(text: &str, folder: &Path, server: &str) -> String {
    text.replace(folder.to_str().unwrap(), FOLDER).replace(server, SERVER)
}

/// Starts the server of HTTP discovery: `/CASE/FILE` is that file of that case. Its host and port.
pub(crate) async fn serve() -> String {
    let answer = async |UrlPath((case, file)): UrlPath<(String, String)>| {
        let Some(case) = all().into_iter().find(|known| known.name == case) else { return StatusCode::NOT_FOUND.into_response() };
        match fs::read(case.folder.join(file)) {
            Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
            Err(_) => StatusCode::NOT_FOUND.into_response(),
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let router = Router::new().route("/{case}/{file}", get(answer));
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}
