//! Discovery in Consul, judged by Prometheus: a real agent, and random services that come, change and go.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context;
use serde_json::{Value, json};
use tokio::process::Child;

use super::{Discovered, Programs, Server, difference, random::Random, servers::free_port};
use crate::{cluster::until, control_plane::spawn, report::Expectations};

/// The agent, which is a server, too.
pub(super) const PROGRAM: &str = "consul-agent";

/// Services and changes follow from it.
const SEED: u64 = 20_240_301;
const NODES: usize = 6;
/// Instances that a node may have of each service.
const INSTANCES: usize = 2;
const SERVICES: [&str; 8] = ["web", "db", "cache", "Mixed-Case", "odd näme", "a.b", "proxy", "last"];
const TAGS: [&str; 5] = ["a", "b", "x=1,y", "UPPER", ""];

/// How soon after the last change all is equal. Prometheus publishes what it discovers every 5 s.
const LIMIT: Duration = Duration::from_secs(15);
/// The same after the agent was away: both pause for 15 s after a failure.
const RECOVERY: Duration = Duration::from_secs(45);
/// The same where the agent has forgotten everything: a query that names an index of the time before is answered when its
/// wait ends, which is two minutes and a sixteenth.
const OBLIVION: Duration = Duration::from_secs(180);

/// Jobs, and what their sections say beside the server. None has tags and a filter by what instances differ in: a service is
/// followed once an instance that the filter leaves had the tags, so that it depends on the past whether it is.
const JOBS: &[(&str, &str)] = &[
    ("all", ""),
    ("consistent", "allow_stale: false, datacenter: dc1, tag_separator: ';'"),
    ("named", "services: [web, 'odd näme', Mixed-Case, nobody]"),
    ("tagged", "tags: [a]"),
    ("tagged-twice", "tags: [b, a]"),
    ("named-and-tagged", "services: [web, db], tags: ['x=1,y']"),
    ("on-nodes", "node_meta: {rack: '1'}"),
    ("filtered", "filter: 'NodeMeta.rack == \"1\" and ServiceName != \"db\"'"),
    ("filtered-by-tag", "filter: '\"a\" in ServiceTags', allow_stale: false"),
    ("filtered-by-health", "health_filter: 'Checks.Status == \"critical\" or Service.Meta.version == \"2\"'"),
    (
        "everything-at-once",
        "services: [web, db, cache, proxy, last, a.b], tags: [a], node_meta: {rack: '1'}, filter: 'ServiceName != \"cache\"'",
    ),
];

/// Compares with a Prometheus that is there from the beginning, and each time with one that has just been started.
pub(super) async fn tell(told: &mut Expectations, bin: &Path, folder: PathBuf, programs: &Programs) -> anyhow::Result<()> {
    let mut agent = Agent::start(bin, folder).await?;
    let mut catalog = Catalog::new();
    catalog.apply(&agent, 400).await?;
    let config = agent.config();
    let (coordinator, beside) = (programs.coordinator(&config).await?, programs.prometheus(&config).await?);
    let judge = Judge { coordinator, beside, programs, config };
    judge.compare(told, "400 changes", LIMIT).await?;
    catalog.apply(&agent, 300).await?;
    judge.compare(told, "300 more", LIMIT).await?;

    let before = judge.coordinator.discovered().await?;
    agent.stop().await?;
    let errors = until("the failure is told", LIMIT, async || {
        let errors = judge.coordinator.errors("all").await?;
        anyhow::ensure!(!errors.is_empty(), "no error");
        Ok(errors)
    });
    told.note("without the agent the failure is told", errors.await.map_err(|error| format!("{error:#}")));
    let lost = difference(&judge.coordinator.discovered().await?, &before);
    told.expect("without the agent all targets stay", lost.join("; "), lost.is_empty());
    agent.run().await?;
    catalog.apply(&agent, 100).await?;
    judge.compare(told, "agent restarted, 100 changes", RECOVERY).await?;

    agent.stop().await?;
    agent.forget()?;
    agent.run().await?;
    // Fewer than before, so that its indexes are behind.
    let mut catalog = Catalog::new();
    catalog.apply(&agent, 300).await?;
    judge.compare(told, "agent that has lost its data, 300 changes", OBLIVION).await
}

struct Judge<'a> {
    coordinator: Server,
    beside: Server,
    programs: &'a Programs,
    config: String,
}

impl Judge<'_> {
    async fn compare(&self, told: &mut Expectations, after: &str, limit: Duration) -> anyhow::Result<()> {
        // It knows nothing but what is there, so that the other two cannot be equal in what both have missed.
        let fresh = self.programs.prometheus(&self.config).await?;
        let result = self.equal(&fresh, limit).await;
        told.note(&format!("{after}: within {} s the same as a Prometheus that was just started", limit.as_secs()), result);
        let result = self.equal(&self.beside, limit).await;
        told.note(&format!("{after}: the same as the Prometheus beside it"), result);
        fresh.stop().await
    }

    async fn equal(&self, judge: &Server, limit: Duration) -> Result<String, String> {
        let start = Instant::now();
        let look = async || {
            let (ours, theirs) = (self.coordinator.discovered().await?, judge.discovered().await?);
            // Each of them has to be asked for something.
            let silent: Vec<&str> = JOBS.iter().map(|(job, _)| *job).filter(|job| theirs.of(job) == 0).collect();
            anyhow::ensure!(silent.is_empty(), "nothing there of {}", silent.join(", "));
            let differences = difference(&ours, &theirs);
            anyhow::ensure!(differences.is_empty(), "{}", differences.join("; "));
            Ok(ours)
        };
        let equal: anyhow::Result<Discovered> = until("both are equal", limit, look).await;
        let seconds = start.elapsed().as_secs_f64();
        equal.map(|all| format!("after {seconds:.1} s, {}", all.counts())).map_err(|error| format!("{error:#}"))
    }
}

/// A server of its own on loopback, with no other members.
struct Agent {
    command: Vec<String>,
    folder: PathBuf,
    port: u16,
    http: reqwest::Client,
    process: Option<Child>,
}

impl Agent {
    async fn start(bin: &Path, folder: PathBuf) -> anyhow::Result<Self> {
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let [port, server, serf] = [free_port()?, free_port()?, free_port()?];
        let http = format!("127.0.0.1 unix://{}", folder.join("socket").display());
        // Of one address it takes 200 connections unless told otherwise; each watch of each server has one.
        let config = json!({
            "limits": {"http_max_conns_per_client": 2_000},
            "server": true, "bootstrap_expect": 1, "node_name": "agent", "bind_addr": "127.0.0.1", "datacenter": "dc1",
            "addresses": {"http": http},
            "ports": {"http": port, "server": server, "serf_lan": serf, "serf_wan": -1, "dns": -1, "grpc": -1, "grpc_tls": -1},
            "performance": {"raft_multiplier": 1}, "disable_update_check": true, "data_dir": folder.join("data"),
        });
        let file = folder.join("agent.json");
        fs::write(&file, config.to_string()).with_context(|| file.display().to_string())?;
        let command = vec![bin.join(PROGRAM).display().to_string(), format!("-config-file={}", file.display())];
        let http = reqwest::Client::builder().timeout(Duration::from_secs(20)).no_proxy().build()?;
        let mut agent = Agent { command, folder, port, http, process: None };
        agent.run().await?;
        Ok(agent)
    }

    async fn run(&mut self) -> anyhow::Result<()> {
        let log = self.folder.join("log");
        self.process = Some(spawn(&self.command, &log)?);
        let ready = until("the agent leads", Duration::from_secs(60), async || {
            let nodes: Value = serde_json::from_str(&self.get("/v1/health/service/consul").await?)?;
            anyhow::ensure!(nodes.as_array().is_some_and(|nodes| !nodes.is_empty()), "it does not know itself");
            Ok(())
        });
        ready.await.with_context(|| format!("its log is {}", log.display()))
    }

    async fn stop(&mut self) -> anyhow::Result<()> {
        match self.process.take() {
            Some(mut process) => Ok(process.kill().await?),
            None => Ok(()),
        }
    }

    /// Loses all data.
    fn forget(&self) -> anyhow::Result<()> {
        let data = self.folder.join("data");
        fs::remove_dir_all(&data).with_context(|| data.display().to_string())
    }

    async fn get(&self, path: &str) -> anyhow::Result<String> {
        let answer = self.http.get(format!("http://127.0.0.1:{}{path}", self.port)).send().await?;
        Ok(answer.error_for_status()?.text().await?)
    }

    async fn put(&self, path: &str, body: &Value) -> anyhow::Result<()> {
        let answer = self.http.put(format!("http://127.0.0.1:{}{path}", self.port)).body(body.to_string()).send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        anyhow::ensure!(status.is_success(), "{path}: {status}: {text}: {body}");
        Ok(())
    }

    /// Jobs that discover and keep nothing.
    fn config(&self) -> String {
        let by_port = format!("server: '127.0.0.1:{}'", self.port);
        let by_socket = format!("server: 'unix://{}'", self.folder.join("socket").display());
        let job = |name: &str, server: &str, more: &str| {
            let section = if more.is_empty() { server.to_owned() } else { format!("{server}, {more}") };
            format!(
                "- job_name: {name}\n  consul_sd_configs: [{{{section}, refresh_interval: 1s}}]\n  relabel_configs: [{{action: drop}}]\n"
            )
        };
        let jobs: String = JOBS.iter().map(|(name, more)| job(name, &by_port, more)).collect();
        format!("scrape_configs:\n{jobs}{}", job("by-socket", &by_socket, ""))
    }
}

/// What was registered.
struct Catalog {
    random: Random,
    nodes: Vec<Value>,
    /// Node and identity.
    instances: BTreeSet<(usize, String)>,
}

impl Catalog {
    fn new() -> Self {
        let mut random = Random::new(SEED);
        let nodes = (0..NODES).map(|index| node(&mut random, index)).collect();
        Catalog { random, nodes, instances: BTreeSet::new() }
    }

    /// Makes so many random changes, one after another.
    async fn apply(&mut self, agent: &Agent, changes: usize) -> anyhow::Result<()> {
        for _ in 0..changes {
            let (path, body) = self.change();
            agent.put(path, &body).await?;
        }
        Ok(())
    }

    fn change(&mut self) -> (&'static str, Value) {
        const REGISTER: &str = "/v1/catalog/register";
        const DEREGISTER: &str = "/v1/catalog/deregister";
        let index = self.random.below(NODES);
        let name = format!("node-{index}");
        let of_node: Vec<String> = self.instances.iter().filter(|(node, _)| *node == index).map(|(_, id)| id.clone()).collect();
        match self.random.below(100) {
            0..=1 => {
                self.instances.retain(|(node, _)| *node != index);
                (DEREGISTER, json!({"Node": name}))
            }
            2..=6 => {
                self.nodes[index] = node(&mut self.random, index);
                (REGISTER, self.nodes[index].clone())
            }
            7..=9 => {
                // Of all services on the node.
                let mut body = self.nodes[index].clone();
                body["Check"] = self.check(&name, "_node_maintenance", "");
                (REGISTER, body)
            }
            10..=19 => (DEREGISTER, json!({"Node": name, "CheckID": self.random.pick(&["_node_maintenance", "one", "two"])})),
            20..=34 if !of_node.is_empty() => {
                let id = of_node[self.random.below(of_node.len())].clone();
                self.instances.remove(&(index, id.clone()));
                (DEREGISTER, json!({"Node": name, "ServiceID": id}))
            }
            35..=54 if !of_node.is_empty() => {
                let id = &of_node[self.random.below(of_node.len())];
                let maintenance = format!("_service_maintenance:{id}");
                let check = self.random.pick(&["one", "two", "two", maintenance.as_str()]);
                let mut body = self.nodes[index].clone();
                body["Check"] = self.check(&name, check, id);
                (REGISTER, body)
            }
            _ => {
                let service = self.random.pick(&SERVICES);
                let id = format!("{service}-{}", self.random.below(INSTANCES));
                let mut body = self.nodes[index].clone();
                body["Service"] = self.service(service, &id);
                self.instances.insert((index, id));
                (REGISTER, body)
            }
        }
    }

    fn check(&mut self, node: &str, id: &str, service: &str) -> Value {
        let status = self.random.pick(&["passing", "warning", "critical"]);
        json!({"Node": node, "CheckID": id, "Name": id, "Status": status, "ServiceID": service})
    }

    fn service(&mut self, service: &str, id: &str) -> Value {
        let random = &mut self.random;
        let address = match random.below(4) {
            0 => String::new(),
            1 => format!("fd00::{:x}", 1 + random.below(60_000)),
            2 => format!("host-{}.example", random.below(9)),
            _ => ip(random),
        };
        let mut meta = BTreeMap::new();
        for (key, values) in [("version", &["1", "2", "2"][..]), ("a-b_c", &["x y", "ä", ""])] {
            if random.percent(70) {
                meta.insert(key, random.pick(values));
            }
        }
        json!({"Service": service, "ID": id, "Tags": random.some(&TAGS), "Address": address, "Port": random.below(65_536), "Meta": meta})
    }
}

fn node(random: &mut Random, index: usize) -> Value {
    let mut meta = BTreeMap::from([("rack", random.pick(&["1", "2"]))]);
    if random.percent(50) {
        meta.insert("instance-type", random.pick(&["m5.large", ""]));
    }
    let address = if random.percent(80) { ip(random) } else { format!("fd00::{index:x}") };
    let mut tagged = BTreeMap::new();
    for kind in random.some(&["lan", "wan", "wan_ipv6"]) {
        tagged.insert(kind, ip(random));
    }
    json!({"Node": format!("node-{index}"), "Address": address, "NodeMeta": meta, "TaggedAddresses": tagged})
}

fn ip(random: &mut Random) -> String {
    format!("10.200.{}.{}", random.below(250), 1 + random.below(250))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_make_equal_changes() {
        let made = || {
            let mut catalog = Catalog::new();
            (0..400).map(|_| catalog.change()).collect::<Vec<_>>()
        };
        let changes = made();
        assert_eq!(changes, made());
        let count = |wanted: &dyn Fn(&Value) -> bool| changes.iter().filter(|(_, body)| wanted(body)).count();
        let (gone, checks) = (count(&|body| body["ServiceID"].is_string()), count(&|body| body["Check"].is_object()));
        assert!(gone > 20 && checks > 40, "{gone} deregistered, {checks} checks");
    }
}
