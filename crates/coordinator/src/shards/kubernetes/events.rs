//! Kubernetes Events about the StatefulSets. They are for people: published in the background, and whatever goes
//! wrong with them stays there.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::{
    authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
    core::v1::ObjectReference,
};
use kube::{
    Api, Client,
    api::PostParams,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use kvass_service::config_file::chain;
use tokio::{sync::mpsc, time::Instant};

use super::wish::FIELD_MANAGER;
use crate::shards::{Announcement, Repeat};

/// Events that may wait for the API server; what comes beyond is dropped.
const QUEUE: usize = 100;
/// How long the same words about the same object are not said again.
const QUIET: Duration = Duration::from_secs(600);
/// Longest time one request may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The API server refuses longer notes.
const LONGEST_NOTE: usize = 1000;

/// UID of the object and reason of the event.
type Subject = (String, &'static str);

pub(super) struct Events {
    queue: mpsc::Sender<(ObjectReference, Announcement)>,
    said: Mutex<BTreeMap<Subject, (String, Instant)>>,
}

impl Events {
    /// Starts publishing, once it is known that this is allowed in `namespace` (`None`: in all).
    pub(super) fn start(client: Client, namespace: Option<String>) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        tokio::spawn(publish(client, namespace, waiting));
        Events { queue, said: Mutex::default() }
    }

    pub(super) fn announce(&self, object: ObjectReference, announcement: Announcement) {
        if let Repeat::Later(words) = &announcement.repeat {
            let key = (object.uid.clone().unwrap_or_default(), announcement.reason);
            let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
            said.retain(|_, (_, at)| at.elapsed() < QUIET);
            if said.get(&key).is_some_and(|(before, _)| before == words) {
                return;
            }
            said.insert(key, (words.clone(), Instant::now()));
        }
        // Full means that the API server does not answer; nobody is to wait for that.
        let _ = self.queue.try_send((object, announcement));
    }
}

async fn publish(client: Client, namespace: Option<String>, mut waiting: mpsc::Receiver<(ObjectReference, Announcement)>) {
    let mut allowed = may_create(&client, namespace.as_deref()).await;
    while let Some((object, announcement)) = waiting.recv().await {
        if allowed.is_none() {
            allowed = may_create(&client, namespace.as_deref()).await;
        }
        match allowed {
            Some(true) => {}
            // Nobody listens any more, so later ones are not even queued.
            Some(false) => return,
            None => continue,
        }
        let event = Event {
            type_: if announcement.warning { EventType::Warning } else { EventType::Normal },
            reason: announcement.reason.to_owned(),
            note: Some(shortened(announcement.text)),
            action: announcement.action.to_owned(),
            secondary: None,
        };
        // A recorder counts events of one reason together and keeps the first one's words. Each of ours says
        // something else (which repeats are worth it was decided before), so each is an event by itself.
        let recorder = Recorder::new(client.clone(), Reporter::from(FIELD_MANAGER));
        match tokio::time::timeout(TIMEOUT, recorder.publish(&event, &object)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(reason = event.reason, error = %chain(&error), "event not published"),
            Err(_) => tracing::debug!(reason = event.reason, "event not published in time"),
        }
    }
}

/// Whether events may be created; `None` if the API server did not say. Says so once if they may not.
async fn may_create(client: &Client, namespace: Option<&str>) -> Option<bool> {
    let attributes = ResourceAttributes {
        group: Some("events.k8s.io".to_owned()),
        resource: Some("events".to_owned()),
        verb: Some("create".to_owned()),
        namespace: namespace.map(str::to_owned),
        ..ResourceAttributes::default()
    };
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..SelfSubjectAccessReviewSpec::default() },
        ..SelfSubjectAccessReview::default()
    };
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let allowed = match tokio::time::timeout(TIMEOUT, reviews.create(&PostParams::default(), &review)).await {
        Ok(Ok(review)) => review.status?.allowed,
        Ok(Err(kube::Error::Api(status))) if status.code == 403 => false,
        Ok(Err(_)) | Err(_) => return None,
    };
    if !allowed {
        let namespace = namespace.unwrap_or("all namespaces");
        tracing::info!(namespace, "no Kubernetes events: create on events.k8s.io/events is not granted");
    }
    Some(allowed)
}

fn shortened(mut text: String) -> String {
    if text.len() > LONGEST_NOTE {
        let end = (0..=LONGEST_NOTE).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_notes_are_cut_between_characters() {
        assert_eq!(shortened("short".to_owned()), "short");
        let cut = shortened("ä".repeat(600));
        assert_eq!(cut.chars().count(), 501);
        assert!(cut.len() <= 1024 && cut.ends_with('…'), "{}", cut.len());
    }
}
