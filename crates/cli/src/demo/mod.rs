//! `kvass demo`: the whole system on one machine. Generators with more series than one shard may hold, a
//! coordinator that starts as many shards as they need, and a proof that nothing is lost or doubled.

mod display;
mod keys;
mod process;
mod proof;
mod view;
mod world;

use std::{
    collections::BTreeMap,
    future::Future,
    time::{Duration, Instant},
};

use serde::Serialize;

use self::{
    display::{Display, Frame},
    keys::Keys,
    proof::Proof,
    view::View,
    world::World,
};
use crate::{flags::DemoFlags, generator::HOUSEKEEPING_SERIES};

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(500);
/// Pause between two proofs: each reads every series of every shard.
const PROOF_PAUSE: Duration = Duration::from_secs(3);
/// Most generators that keys may start.
const MAX_GENERATORS: usize = 40;

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Outcome {
    ok: bool,
    targets: usize,
    series: u64,
    limit: u64,
    shards: usize,
    series_per_shard: BTreeMap<String, u64>,
    global_count: u64,
    seconds: f64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<String>,
}

/// Runs until everything is proved (`--once`) or until `shutdown`.
pub(crate) async fn run(flags: DemoFlags, shutdown: impl Future<Output = ()> + Send + 'static) -> anyhow::Result<()> {
    anyhow::ensure!(
        flags.series > HOUSEKEEPING_SERIES,
        "--series={}: expected more than the {HOUSEKEEPING_SERIES} about each process",
        flags.series
    );
    anyhow::ensure!(
        !flags.scrape_interval.is_zero() && !flags.max_idle_time.is_zero(),
        "--scrape-interval and --max-idle-time can not be 0"
    );
    // Listening from now on: children that are started before a Ctrl-C must be ended too.
    let shutdown = tokio::spawn(shutdown);
    let world = World::start(flags.clone()).await?;
    let mut demo = Demo::new(flags, world)?;
    let result = tokio::select! {
        result = demo.go_on() => result,
        _ = shutdown => Ok(()),
    };
    demo.display.say("ending what was started");
    demo.world.stop().await;
    result
}

struct Demo {
    flags: DemoFlags,
    world: World,
    client: reqwest::Client,
    display: Display,
    keys: Keys,
    started: Instant,
    view: View,
    proof: Option<Proof>,
    problems: Vec<String>,
    proved_at: Option<Instant>,
    /// Whether `--once` has been answered, or the addresses told.
    announced: bool,
}

impl Demo {
    fn new(flags: DemoFlags, world: World) -> anyhow::Result<Demo> {
        let mut display = Display::new();
        display.say(&format!("kvass demo in {} (logs in logs/ and shards/)", world.dir().display()));
        display.say(&format!("coordinator  {}", world.coordinator_url()));
        Ok(Demo {
            flags,
            world,
            client: view::client()?,
            display,
            keys: Keys::listen(),
            started: Instant::now(),
            view: View::default(),
            proof: None,
            problems: Vec::new(),
            proved_at: None,
            announced: false,
        })
    }

    async fn go_on(&mut self) -> anyhow::Result<()> {
        let mut waiting_for = String::new();
        loop {
            match self.look().await {
                Ok(()) => waiting_for.clear(),
                // Something is being started or stopped: what it says in a moment counts.
                Err(error) => waiting_for = format!("waiting: {error:#}"),
            }
            self.show(&waiting_for);
            if self.is_proved() && self.announce()? {
                return Ok(());
            }
            let ended = self.world.ended();
            let late = !self.announced && self.started.elapsed() > self.flags.timeout;
            if !ended.is_empty() || late {
                return self.fail(&ended, &waiting_for);
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                key = self.keys.next() => if !self.pressed(key).await? {
                    return Ok(());
                }
            }
        }
    }

    /// Looks at the coordinator; once all has settled, at everything.
    async fn look(&mut self) -> anyhow::Result<()> {
        self.view = View::of(&self.world.coordinator_url(), &self.client).await?;
        let instances = self.world.generators();
        if !self.view.has_settled(&instances, self.flags.series, self.flags.limit) {
            self.proof = None;
            return Ok(());
        }
        if self.proved_at.is_some_and(|at| at.elapsed() < PROOF_PAUSE) && self.is_proved() {
            return Ok(());
        }
        let urls = self.view.shards.iter().filter_map(|shard| shard.url.clone()).collect();
        if self.world.read_shards(urls, &self.client).await? {
            // It starts, or reads its configuration anew: it is asked next time.
            self.proof = None;
            return Ok(());
        }
        let Some(global) = self.world.global_url() else { return Ok(()) };
        let proof = Proof::find(&self.view, &global, &self.client).await?;
        self.problems = proof.problems(&instances, self.own_series());
        self.proof = Some(proof);
        self.proved_at = Some(Instant::now());
        Ok(())
    }

    fn own_series(&self) -> u64 {
        self.flags.series - HOUSEKEEPING_SERIES
    }

    fn is_proved(&self) -> bool {
        self.proof.is_some() && self.problems.is_empty()
    }

    fn show(&mut self, waiting_for: &str) {
        let keys = "keys: + adds a generator, - removes one, q ends";
        let frame = Frame {
            elapsed: self.started.elapsed(),
            view: &self.view,
            limit: self.flags.limit,
            proof: self.proof.as_ref().map(|proof| (proof, self.problems.as_slice())),
            expected: self.own_series() * self.world.generators().len() as u64,
            note: if waiting_for.is_empty() && self.keys.exist() { keys } else { waiting_for },
        };
        self.display.show(&frame);
    }

    /// Tells the first proof. True if that was all that was asked for.
    fn announce(&mut self) -> anyhow::Result<bool> {
        if self.announced {
            return Ok(false);
        }
        self.announced = true;
        let outcome = self.outcome(Vec::new());
        if self.flags.json.0 {
            crate::print(serde_json::to_string(&outcome)?)?;
        } else {
            crate::print(format!(
                "{} targets with {} series on {} shards of at most {} after {:.1} s: one query finds all {}, each target is scraped once",
                outcome.targets, outcome.series, outcome.shards, outcome.limit, outcome.seconds, outcome.global_count
            ))?;
        }
        if self.flags.once.0 {
            return Ok(true);
        }
        if let Some(global) = self.world.global_url() {
            self.display.say(&format!("global Prometheus  {global}"));
        }
        for shard in &self.view.shards {
            self.display.say(&format!("{}  {}", shard.shard, shard.url.as_deref().unwrap_or_default()));
        }
        self.display.say("Ctrl-C ends everything");
        Ok(false)
    }

    fn fail(&mut self, ended: &[&str], waiting_for: &str) -> anyhow::Result<()> {
        let mut problems = self.problems.clone();
        if ended.is_empty() {
            problems.push(format!("not proved within --timeout={}s", self.flags.timeout.as_secs()));
        } else {
            problems.push(format!(
                "{} ended unexpectedly: see its log in {}",
                ended.join(", "),
                self.world.dir().join("logs").display()
            ));
        }
        if !waiting_for.is_empty() {
            problems.push(waiting_for.to_owned());
        }
        let text = problems.join("; ");
        if self.flags.json.0 {
            crate::print(serde_json::to_string(&self.outcome(problems))?)?;
        }
        Err(anyhow::anyhow!(text))
    }

    fn outcome(&self, problems: Vec<String>) -> Outcome {
        Outcome {
            ok: problems.is_empty(),
            targets: self.view.targets.len(),
            series: self.view.series(),
            limit: self.flags.limit,
            shards: self.view.shards.len(),
            series_per_shard: self.view.shards.iter().map(|shard| (shard.shard.clone(), shard.series)).collect(),
            global_count: self.proof.as_ref().map_or(0, |proof| proof.global_count),
            seconds: (self.started.elapsed().as_secs_f64() * 10.0).round() / 10.0,
            problems,
        }
    }

    /// Acts on a key. False if it was the one that ends the demo.
    async fn pressed(&mut self, key: u8) -> anyhow::Result<bool> {
        match key {
            b'+' | b'a' if self.world.generators().len() < MAX_GENERATORS => self.world.add_generator()?,
            b'-' | b'r' => self.world.remove_generator().await?,
            b'q' => return Ok(false),
            _ => {}
        }
        Ok(true)
    }
}
