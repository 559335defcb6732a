use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use kvass_config::ScrapeConfig;

use crate::{ClientError, ClientOptions, HttpClient, JobClient};

/// The clients of all jobs, by name. Shared behind an `Arc`; a reload replaces the table as a whole.
#[derive(Debug)]
pub struct JobClients {
    options: ClientOptions,
    current: RwLock<Arc<HashMap<Arc<str>, Arc<JobClient>>>>,
}

impl JobClients {
    /// No jobs yet.
    pub fn new(options: ClientOptions) -> Self {
        JobClients { options, current: RwLock::default() }
    }

    /// Replaces the jobs. Jobs with equal HTTP settings share one client, and a client whose settings are
    /// still in use is kept, with its open connections and tokens.
    ///
    /// Returns the jobs no client can be built for; they are unknown to [`get`](Self::get), the others work.
    pub fn apply(&self, jobs: &[Arc<ScrapeConfig>]) -> Vec<(Arc<str>, ClientError)> {
        let previous = self.snapshot();
        let mut clients: Vec<HttpClient> = Vec::new();
        for client in previous.values() {
            if !clients.iter().any(|known| known.config() == client.http().config()) {
                clients.push(client.http().clone());
            }
        }
        let mut table = HashMap::with_capacity(jobs.len());
        let mut failed = Vec::new();
        for job in jobs {
            let known = clients.iter().find(|client| *client.config() == job.http).cloned();
            let http = match known.map_or_else(|| HttpClient::new(&job.http, &self.options), Ok) {
                Ok(http) => http,
                Err(error) => {
                    failed.push((Arc::clone(&job.job_name), error));
                    continue;
                }
            };
            if !clients.iter().any(|known| known.config() == http.config()) {
                clients.push(http.clone());
            }
            table.insert(Arc::clone(&job.job_name), Arc::new(JobClient::with_client(job, http, &self.options)));
        }
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
        failed
    }

    /// The client of a job.
    pub fn get(&self, job: &str) -> Option<Arc<JobClient>> {
        self.snapshot().get(job).cloned()
    }

    fn snapshot(&self) -> Arc<HashMap<Arc<str>, Arc<JobClient>>> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}
