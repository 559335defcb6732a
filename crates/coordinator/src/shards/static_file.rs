use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;

use super::{ListedShard, Replica, ShardError};

/// Shards listed in a file (`--shard.type=static`); re-read on every listing, unknown members ignored.
pub(crate) struct StaticFile {
    path: PathBuf,
}

#[derive(Debug, Default, Deserialize)]
struct Content {
    #[serde(default)]
    replicas: Vec<ReplicaEntry>,
}

#[derive(Debug, Default, Deserialize)]
struct ReplicaEntry {
    #[serde(default)]
    shards: Vec<ShardEntry>,
}

#[derive(Debug, Deserialize)]
struct ShardEntry {
    id: String,
    url: String,
}

impl StaticFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        StaticFile { path }
    }

    pub(crate) async fn list(&self) -> Result<Vec<Replica>, ShardError> {
        let error = |problem: String| ShardError::StaticFile { file: self.path.display().to_string(), problem };
        let text = tokio::fs::read_to_string(&self.path).await.map_err(|e| error(format!("cannot be read: {e}")))?;
        parse(&text).map_err(error)
    }
}

fn parse(text: &str) -> Result<Vec<Replica>, String> {
    let content: Content = serde_yaml::from_str(text).map_err(|e| e.to_string())?;
    if content.replicas.iter().all(|r| r.shards.is_empty()) {
        return Err("no shards: expected replicas: [{shards: [{id: shard-0, url: \"http://192.0.2.10:8080\"}]}]".to_owned());
    }
    let mut seen = BTreeMap::new();
    content.replicas.into_iter().enumerate().map(|(index, entry)| replica(index, entry, &mut seen)).collect()
}

/// `seen` has the place of every URL so far: a shard of two replicas would be given two lists in turns.
fn replica(index: usize, entry: ReplicaEntry, seen: &mut BTreeMap<String, String>) -> Result<Replica, String> {
    let mut shards = Vec::new();
    for (ordinal, shard) in (0..).zip(entry.shards) {
        let problem = |what: String| format!("replicas[{index}].shards[{ordinal}] (id {:?}): {what}", shard.id);
        if !(shard.url.starts_with("http://") || shard.url.starts_with("https://")) {
            return Err(problem(format!("url {:?}: expected http://host:port", shard.url)));
        }
        if let Some(other) =
            seen.insert(shard.url.trim_end_matches('/').to_owned(), format!("replicas[{index}].shards[{ordinal}]"))
        {
            return Err(problem(format!("url {:?} is that of {other} too", shard.url)));
        }
        shards.push(ListedShard {
            ordinal,
            name: shard.id,
            incarnation: shard.url.clone(),
            url: Some(shard.url),
            absent: None,
            overdue: false,
        });
    }
    let scale = shards.len().try_into().unwrap_or(u32::MAX);
    Ok(Replica { id: format!("static-{index}"), scale, scalable: false, shards, ..Replica::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_replicas_and_shards_in_file_order() {
        let text = "replicas:\n- shards:\n  - {id: shard-0, url: \"http://192.0.2.10:8080\", extra: 1}\n  - {id: b, url: http://192.0.2.11:8080}\n- shards:\n  - {id: c, url: http://192.0.2.12:8080}\n";
        let replicas = parse(text).unwrap();
        assert_eq!(replicas.len(), 2);
        assert_eq!((replicas[0].id.as_str(), replicas[0].scale, replicas[0].scalable), ("static-0", 2, false));
        assert_eq!((replicas[0].shards[1].ordinal, replicas[0].shards[1].name.as_str()), (1, "b"));
        assert_eq!(replicas[0].shards[0].url.as_deref(), Some("http://192.0.2.10:8080"));
    }

    #[test]
    fn refuses_what_cannot_be_meant() {
        for (text, expected) in [
            ("replicas: []", "no shards"),
            (
                "replicas:\n- shards:\n  - {id: a, url: 192.0.2.1:80}\n",
                r#"replicas[0].shards[0] (id "a"): url "192.0.2.1:80": expected http://host:port"#,
            ),
            (
                "replicas:\n- shards:\n  - {id: a, url: http://h:1}\n  - {id: b, url: http://h:1/}\n",
                "is that of replicas[0].shards[0] too",
            ),
            (
                "replicas:\n- shards:\n  - {id: a, url: http://h:1}\n- shards:\n  - {id: a, url: http://h:1}\n",
                r#"replicas[1].shards[0] (id "a"): url "http://h:1" is that of replicas[0].shards[0] too"#,
            ),
            ("replicas:\n- shards:\n  - {id: a}\n", "missing field `url`"),
            ("replicas: 7", "invalid type"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
