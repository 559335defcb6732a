//! Shows the bodies to a real Prometheus and writes down what it made of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use kvass_config::HttpClientConfig;
use kvass_model::SeriesCount;
use serde_json::Value;

use crate::{
    plan::{Plan, SERVERS, Server, folder},
    support::{self, client, get_text, header},
    verdict::Golden,
};

/// Characters of an error that are kept: enough to recognise it.
const ERROR_LENGTH: usize = 160;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes what the program $PROMETHEUS does into tests/data/bodies"]
async fn record_goldens() {
    let program = std::env::var("PROMETHEUS").expect("PROMETHEUS names the program");
    let version = std::process::Command::new(&program).arg("--version").output().unwrap();
    let version = String::from_utf8_lossy(&[version.stdout, version.stderr].concat()).into_owned();
    let servers: Vec<_> = SERVERS.iter().filter(|server| version.contains(&format!("version {}", server.version))).collect();
    assert!(!servers.is_empty(), "{version}: not one of the versions there are goldens for");
    for server in servers {
        record(server, Path::new(&program)).await;
    }
}

async fn record(server: &Server, program: &Path) {
    let plan = Arc::new(Plan::read());
    let answers = Arc::clone(&plan);
    let bodies = support::Server::start(move |request| answers.reply(request)).await;
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("prometheus.yml"), plan.config(server.line, "", &bodies.addr.to_string())).unwrap();
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let log = fs::File::create(dir.path().join("log")).unwrap();
    let _prometheus = tokio::process::Command::new(program)
        .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
        .arg(format!("--web.listen-address={address}"))
        .args(server.args)
        .current_dir(dir.path())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap();

    let api = Api { url: format!("http://{address}/api/v1") };
    let cases = plan.cases(server.line);
    // Two scrapes each: the first adds series, the second must not differ otherwise.
    for attempt in 0.. {
        let scraped = api.query("count_over_time(up[5m]) >= 2").await.map_or(0, |scraped| scraped.len());
        if scraped == cases.len() {
            break;
        }
        let log = || fs::read_to_string(dir.path().join("log")).unwrap();
        assert!(attempt < 150, "{scraped} of {} scraped: {}", cases.len(), log());
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let errors = api.errors().await;
    let [up, total, series, least, most] = [
        "up",
        "scrape_samples_scraped",
        "scrape_samples_post_metric_relabeling",
        "min_over_time(scrape_samples_scraped[5m])",
        "max_over_time(scrape_series_added[5m])",
    ];
    let (up, total, series) = (api.query(up).await.unwrap(), api.query(total).await.unwrap(), api.query(series).await.unwrap());
    let (least, added) = (api.query(least).await.unwrap(), api.query(most).await.unwrap());
    assert_eq!(least, total, "scrapes of one body differ");

    let mut text = String::new();
    for case in &cases {
        let target = (case.job.to_owned(), case.number.to_string());
        let golden = Golden {
            up: up[&target] == 1,
            count: SeriesCount { series: series[&target], total: total[&target] },
            added: (!case.body.repeats).then(|| added[&target]),
            error: errors[&target].clone(),
        };
        text += &golden.line(&case.name);
    }
    text += &accepted(&plan, server, &bodies.requests());
    fs::write(folder().join(format!("{}.golden", server.name)), &text).unwrap();
    println!("{}: {} cases", server.name, cases.len());
}

/// The `Accept` headers, each with the jobs that send it.
fn accepted(plan: &Plan, server: &Server, requests: &[String]) -> String {
    let mut headers: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let cases = plan.cases(server.line);
    let jobs: BTreeMap<String, &str> = cases.iter().map(|case| (case.path(), case.job)).collect();
    for request in requests {
        let job = request.split(' ').nth(1).and_then(|path| jobs.get(path)).unwrap();
        headers.entry(job).or_default().extend(header(request, "accept"));
    }
    let mut senders: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (job, seen) in headers {
        senders.entry(Vec::from_iter(seen).join(" | ")).or_default().push(job);
    }
    senders.into_iter().map(|(header, jobs)| format!("Accept\t{header}\t{}\n", jobs.join(" "))).collect()
}

/// Job and instance of a target.
type Target = (String, String);

struct Api {
    url: String,
}

impl Api {
    async fn get(&self, path: &str) -> Option<Value> {
        let client = client(&HttpClientConfig::default());
        let (status, text) = get_text(&client, &format!("{}/{path}", self.url)).await.ok()?;
        (status == 200).then(|| serde_json::from_str(&text).unwrap())
    }

    async fn query(&self, promql: &str) -> Option<BTreeMap<Target, u64>> {
        let query: String = url::form_urlencoded::byte_serialize(promql.as_bytes()).collect();
        let answer = self.get(&format!("query?query={query}")).await?;
        let result = answer["data"]["result"].as_array().unwrap();
        let sample = |sample: &Value| (target(&sample["metric"]), sample["value"][1].as_str().unwrap().parse().unwrap());
        Some(result.iter().map(sample).collect())
    }

    async fn errors(&self) -> BTreeMap<Target, String> {
        let answer = self.get("targets?state=active").await.unwrap();
        let targets = answer["data"]["activeTargets"].as_array().unwrap().clone();
        let error = |target: &Value| -> String {
            // The number in such an error is one of memory that was used again in the meantime.
            let error = match target["lastError"].as_str().unwrap() {
                number if number.starts_with("strconv.Parse") => number.split(" parsing ").next().unwrap(),
                error => error,
            };
            let printable = error.chars().map(|c| if c.is_control() { ' ' } else { c });
            printable.take(ERROR_LENGTH).collect()
        };
        targets.iter().map(|found| (target(&found["labels"]), error(found))).collect()
    }
}

fn target(labels: &Value) -> Target {
    let label = |name: &str| labels[name].as_str().unwrap().to_owned();
    (label("job"), label("instance"))
}
