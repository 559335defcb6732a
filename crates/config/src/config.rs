use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use kvass_model::{Labels, PrometheusLine};

use crate::{
    ConfigError, ConfigHash, Injection, SELF_MONITOR_JOB, ScrapeConfig, Survey,
    cursor::Cursor,
    decode::{self, Globals},
    injection, mask, paths,
    schema::{self, INCLUDED, MAIN, Rules, UnknownKeys},
    yaml::{Node, emit, parse},
};

/// Paths and texts of files.
pub type IncludedFiles = Vec<(PathBuf, String)>;

/// What [`Config::parse`] needs to know or ask besides the text: this crate does no I/O.
pub struct LoadContext<'a> {
    /// The main file: names it in errors, and its folder resolves relative paths. Give an absolute one, or the resolved
    /// paths are relative to the working directory.
    pub path: PathBuf,
    /// Whose rules apply where Prometheus 2 and 3 differ.
    pub line: PrometheusLine,
    /// Looks up an environment variable, for `global.external_labels`.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// Expands one pattern of `scrape_config_files`, by the rules of Go's `filepath.Glob`, and reads the files. Matching
    /// nothing is no error.
    pub read_glob: &'a dyn Fn(&str) -> std::io::Result<IncludedFiles>,
}

/// A configuration that Prometheus of the given line would load, and the typed view of its jobs. Immutable; share it in
/// an [`Arc`].
pub struct Config {
    text: String,
    path: PathBuf,
    line: PrometheusLine,
    /// The documents, main one first, with relative paths resolved.
    main: Node,
    included: Vec<(PathBuf, Node)>,
    hash: ConfigHash,
    text_hash: ConfigHash,
    external_labels: Labels,
    jobs: Vec<Arc<ScrapeConfig>>,
    by_name: HashMap<Arc<str>, usize>,
    warnings: Vec<String>,
    files: Vec<PathBuf>,
}

impl Config {
    /// Loads a configuration: the main text and the files it includes.
    ///
    /// # Errors
    /// Whatever Prometheus would refuse of `global`, scrape jobs, their HTTP clients, discovery and relabel rules, and the
    /// plain rules of the other sections. A text of nothing but white space is refused although Prometheus takes it for
    /// all defaults: it is how a file looks that is just being written, and would end every scrape.
    pub fn parse(text: &str, context: &LoadContext<'_>) -> Result<Config, ConfigError> {
        Self::load(text, context, false)
    }

    /// As [`Config::parse`], but keys unknown here only lead to warnings and travel to the shards as they are: for shards
    /// whose Prometheus is newer than the table of keys in this crate.
    ///
    /// # Errors
    /// As [`Config::parse`], but for unknown keys.
    pub fn parse_with_unknown_keys(text: &str, context: &LoadContext<'_>) -> Result<Config, ConfigError> {
        Self::load(text, context, true)
    }

    fn load(text: &str, context: &LoadContext<'_>, unknown_keys: bool) -> Result<Config, ConfigError> {
        let path = &context.path;
        if text.trim().is_empty() {
            return Err(ConfigError::new(path, 0, 0, "is empty; a configuration without any setting is written {}"));
        }
        let document = parse(text, path)?;
        let text_hash = ConfigHash::of(&document.root, &[]);
        let mut main = document.root.clone();
        let mut unknown = Vec::new();
        let mut check_and_resolve = |kind, root: &mut Node, file: &Path| {
            let unknown_keys = if unknown_keys { UnknownKeys::Warn(&mut unknown) } else { UnknownKeys::Refuse(Vec::new()) };
            schema::check(kind, Cursor::root(file, root), Rules { line: context.line, unknown_keys })?;
            paths::resolve(kind, root, file.parent().unwrap_or(Path::new("")));
            Ok::<(), ConfigError>(())
        };
        check_and_resolve(&MAIN, &mut main, path)?;

        let root = Cursor::root(path, &main);
        let no_globals = Node::empty_map();
        let globals = root.get("global").unwrap_or_else(|| root.child("global", &no_globals));
        let globals = Globals::read(globals, context.line, context.env)?;
        let mut loader = Jobs::default();
        loader.add(root, &globals)?;
        decode::check_alerting(root, &globals)?;
        decode::check_remote(root, &globals)?;
        decode::check_tracing(root)?;
        decode::check_runtime(root)?;
        decode::check_storage(root)?;
        decode::check_otlp(root, &globals)?;
        if document.more {
            loader.warnings.push("only the first YAML document of the file is used".to_owned());
        }

        let mut files = vec![path.clone()];
        let (mut original, mut included) = (Vec::new(), Vec::new());
        for pattern in root.get("scrape_config_files").iter().flat_map(|list| list.items()) {
            let text = pattern.node().as_scalar().map(|scalar| scalar.as_text()).unwrap_or_default();
            files.extend(paths::folder_of_pattern(text));
            for (file, text) in (context.read_glob)(text).map_err(|e| pattern.error("cannot be read").with_source(e))? {
                let mut document = parse(&text, &file)?.root;
                original.push(document.clone());
                check_and_resolve(&INCLUDED, &mut document, &file)?;
                loader.add(Cursor::root(&file, &document), &globals)?;
                included.push((file.clone(), document));
                files.push(file);
            }
        }
        if loader.by_name.contains_key(SELF_MONITOR_JOB) {
            loader.warnings.push(format!("job {SELF_MONITOR_JOB} is the user's: shards get no self-monitor job of that name"));
        }

        let hash = ConfigHash::of(&document.root, &original.iter().collect::<Vec<_>>());
        let Jobs { jobs, by_name, mut warnings } = loader;
        warnings.append(&mut unknown);
        let external_labels = globals.external_labels;
        let (text, path, line) = (text.to_owned(), path.clone(), context.line);
        Ok(Config { text, path, line, main, included, hash, text_hash, external_labels, jobs, by_name, warnings, files })
    }

    /// The main file's text, as given; with its secrets.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The main document to be shown: every secret replaced by `<secret>`, passwords in URLs by `xxxxx`, relative paths
    /// resolved. Written anew, because comments may hold secrets, too.
    pub fn masked_text(&self) -> String {
        let mut root = self.main.clone();
        mask::mask(&mut root);
        emit(&root)
    }

    /// As [`Config::masked_text`], with the external labels that the Prometheus of a shard has: those of Prometheus 3 with
    /// environment references expanded, and `extra` ones in front of the user's. Thanos tells shards apart by them.
    pub fn masked_text_of_shard(&self, extra: &Labels) -> String {
        let mut root = self.main.clone();
        mask::mask(&mut root);
        let expanded = if self.line == PrometheusLine::V3 { self.external_labels.clone() } else { Labels::default() };
        if !(expanded.is_empty() && extra.is_empty()) {
            root.edit_key("global", |global| {
                global.edit_key("external_labels", |labels| {
                    for (name, value) in expanded.iter().chain(extra.iter()) {
                        labels.set(name, Node::text(value));
                    }
                });
            });
        }
        emit(&root)
    }

    /// The main file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Digest of the main and the included documents.
    pub fn hash(&self) -> &ConfigHash {
        &self.hash
    }

    /// Digest of the main document alone: what [`hash_of_text`](crate::hash_of_text) answers for [`Config::text`].
    pub fn text_hash(&self) -> &ConfigHash {
        &self.text_hash
    }

    /// `global.external_labels`, environment references expanded.
    pub fn external_labels(&self) -> &Labels {
        &self.external_labels
    }

    /// All jobs: those of the main file, then those of the included ones, each in file order.
    pub fn jobs(&self) -> &[Arc<ScrapeConfig>] {
        &self.jobs
    }

    /// The job of that name.
    pub fn job(&self, name: &str) -> Option<&Arc<ScrapeConfig>> {
        self.by_name.get(name).map(|index| &self.jobs[*index])
    }

    /// What the user should know although the configuration is usable.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What to watch for changes: the main file, the included files and the folders in which more may turn up.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// What the documents name and hold, with the places.
    pub fn survey(&self) -> Survey {
        Survey::of(&self.path, &self.main, &self.included)
    }

    /// The document for a shard's Prometheus: the user's with its jobs rewritten, everything else as it was, scalars letter
    /// by letter and secrets included. Relative paths are resolved, `scrape_config_files` is inlined.
    pub fn inject(&self, injection: &Injection) -> String {
        let included: Vec<&Node> = self.included.iter().map(|(_, document)| document).collect();
        emit(&injection::inject(&self.main, &included, injection, self.line))
    }
}

/// Leaves out the texts, which hold secrets.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("path", &self.path)
            .field("hash", &self.hash)
            .field("jobs", &self.jobs.len())
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Jobs {
    jobs: Vec<Arc<ScrapeConfig>>,
    by_name: HashMap<Arc<str>, usize>,
    warnings: Vec<String>,
}

impl Jobs {
    /// Adds the jobs of one document.
    fn add(&mut self, root: Cursor<'_>, globals: &Globals) -> Result<(), ConfigError> {
        for item in root.get("scrape_configs").iter().flat_map(|list| list.items()) {
            let job = decode::job(item, globals)?;
            if self.by_name.insert(job.job_name.clone(), self.jobs.len()).is_some() {
                return Err(item.error_at("job_name", "given to two jobs"));
            }
            self.jobs.push(Arc::new(job));
        }
        Ok(())
    }
}
