//! A topic of Kafka, by librdkafka: all replicas have an alert before it counts as delivered, and what is sent again
//! within a session is there once. The key is the incident, finding or subject of an event, so that its lines stay in
//! order; the header `apitap-alert-id` (`apitap-finding-id`, `apitap-event-id`) is the line's.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};

use super::delivery::Trouble;
use super::format::{Format, Notice};
use super::probe::Probe;
use super::settings::Settings;

/// A topic.
pub(super) struct Topic {
    config: ClientConfig,
    producer: Option<FutureProducer>,
    topic: String,
    timeout: Duration,
    format: Format,
    sensor: String,
}

impl Topic {
    /// From checked settings.
    ///
    /// # Errors
    ///
    /// Properties that librdkafka does not know.
    pub(super) fn new(settings: &Settings, sensor: &str) -> Result<Topic, String> {
        let mut config = ClientConfig::new();
        let timeout = Duration::from_secs(u64::from(settings.timeout_seconds));
        config
            .set("bootstrap.servers", settings.brokers.join(","))
            .set("client.id", "apitap")
            .set("message.timeout.ms", timeout.as_millis().to_string())
            .set("linger.ms", "0");
        for (name, value) in &settings.properties {
            config.set(name, value.reveal());
        }
        // Not for the operator to weaken: an alert that is called delivered must be.
        config.set("acks", "all").set("enable.idempotence", "true");
        let producer: FutureProducer = config.create().map_err(|error| format!("kafka: {error}"))?;
        Ok(Topic {
            config,
            producer: Some(producer),
            topic: settings.topic.clone().unwrap_or_default(),
            timeout,
            format: settings.format(),
            sensor: sensor.to_owned(),
        })
    }

    /// Asks the brokers for the topic.
    pub(super) async fn probe(&mut self) -> Probe {
        let Some(producer) = self.producer.clone() else { return Probe::Failed("no producer".into()) };
        let (topic, timeout) = (self.topic.clone(), self.timeout);
        // All topics are asked for: to ask for one that is not there may make it. librdkafka waits for the answer, and must not hold up the clock of this runtime.
        let asked = tokio::task::spawn_blocking(move || {
            let told = producer.client().fetch_metadata(None, timeout).map_err(|error| error.to_string())?;
            let found = told.topics().iter().find(|found| found.name() == topic);
            match found.map(|found| (found.error(), found.partitions().len())) {
                Some((None, partitions)) if partitions > 0 => Ok(format!("topic {topic} has {partitions} partitions")),
                Some((Some(error), _)) => Err(format!("topic {topic}: {}", RDKafkaErrorCode::from(error))),
                _ => Err(format!("there is no topic {topic}; create it")),
            }
        });
        match asked.await {
            Ok(Ok(found)) => Probe::Well(found),
            Ok(Err(reason)) => Probe::Failed(reason),
            Err(error) => Probe::Failed(error.to_string()),
        }
    }

    /// Delivers lines: all are handed over in order, then each is waited for.
    pub(super) async fn deliver(&mut self, notices: &[Notice<'_>], native: &[Vec<u8>]) -> Result<(), Trouble> {
        let producer = match &mut self.producer {
            Some(producer) => producer,
            empty => empty.insert(self.config.create().map_err(|error: KafkaError| Trouble::later(error.to_string()))?),
        };
        let mut sent = Vec::with_capacity(notices.len());
        for (notice, native) in notices.iter().zip(native) {
            let payload = self.format.write(notice, native, &self.sensor);
            let name = format!("apitap-{}-id", notice.class().one());
            let id = Header { key: &name, value: Some(notice.id.as_bytes()) };
            let record = FutureRecord::to(&self.topic)
                .key(&*notice.subject)
                .payload(&payload)
                .headers(OwnedHeaders::new().insert(id));
            sent.push(producer.send_result(record).map_err(|(error, _)| error));
        }
        let mut trouble = None;
        let mut refused = Vec::new();
        for (at, sent) in sent.into_iter().enumerate() {
            let outcome = match sent {
                Ok(delivery) => match delivery.await {
                    Ok(Ok(_)) => Ok(()),
                    Ok(Err((error, _))) => Err(error),
                    Err(_) => Err(KafkaError::Canceled),
                },
                Err(error) => Err(error),
            };
            match outcome {
                Ok(()) => {}
                Err(error) if is_permanent(&error) => refused.push((at, error)),
                Err(error) => trouble = Some(error),
            }
        }
        if let Some(error) = trouble {
            if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
                self.producer = None; // an idempotent producer that lost its place begins anew
            }
            return Err(Trouble::later(error.to_string()));
        }
        match refused.first() {
            None => Ok(()),
            Some((_, error)) => Err(Trouble::Never {
                reason: error.to_string(),
                which: Some(refused.iter().map(|(at, _)| *at).collect()),
            }),
        }
    }
}

/// What no repetition will change.
fn is_permanent(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessage | RDKafkaErrorCode::InvalidRecord
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Alert;
    use crate::sink::told::Told;
    use rdkafka::consumer::{BaseConsumer, Consumer};
    use rdkafka::message::{Headers, Message};
    use rdkafka::mocking::MockCluster;

    #[test]
    fn alerts_reach_a_topic_in_order() {
        let cluster = MockCluster::new(1).expect("a cluster of librdkafka's own");
        cluster.create_topic("alerts", 1, 1).expect("a topic");
        let settings = Settings {
            brokers: vec![cluster.bootstrap_servers()],
            topic: Some("alerts".into()),
            ..Settings::default()
        };
        let mut topic = Topic::new(&settings, "sensor").expect("settings that librdkafka knows");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let alerts = [Alert::sample(), Alert { id: "another".into(), ..Alert::sample() }];
        let native = [b"{\"a\":1}".to_vec(), b"{\"a\":2}".to_vec()];
        let notices: Vec<Notice<'_>> = alerts.iter().map(|alert| Told::Alert(alert).into()).collect();
        assert_eq!(runtime.block_on(topic.deliver(&notices, &native)), Ok(()));

        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .set("group.id", "test")
            .set("auto.offset.reset", "earliest")
            .create()
            .expect("a consumer");
        consumer.subscribe(&["alerts"]).expect("the topic");
        let until = std::time::Instant::now() + Duration::from_secs(20);
        // What happens to the group ends a wait, too.
        let next = || loop {
            match consumer.poll(Duration::from_secs(1)) {
                Some(message) => return message.expect("a message"),
                None => assert!(std::time::Instant::now() < until, "in time"),
            }
        };
        for (alert, native) in alerts.iter().zip(&native) {
            let message = next();
            assert_eq!(message.payload(), Some(native.as_slice()));
            assert_eq!(message.key(), Some(alert.incident.as_bytes()));
            let header = message.headers().expect("headers").get(0);
            assert_eq!((header.key, header.value), ("apitap-alert-id", Some(alert.id.as_bytes())));
        }
    }

    #[test]
    fn a_topic_is_found_or_not() {
        let cluster = MockCluster::new(1).expect("a cluster of librdkafka's own");
        cluster.create_topic("alerts", 3, 1).expect("a topic");
        let mut settings = Settings {
            r#type: super::super::settings::Type::Kafka,
            brokers: vec![cluster.bootstrap_servers()],
            topic: Some("alerts".into()),
            timeout_seconds: 5,
            ..Settings::default()
        };
        assert_eq!(super::super::probe(&settings, "sensor"), Probe::Well("topic alerts has 3 partitions".into()));
        settings.brokers = vec!["127.0.0.1:1".into()];
        assert!(matches!(super::super::probe(&settings, "sensor"), Probe::Failed(_)));
    }

    #[test]
    fn properties_that_nobody_knows_are_told() {
        let mut settings = Settings { brokers: vec!["127.0.0.1:1".into()], ..Settings::default() };
        settings.properties.insert("no.such.property".into(), "1".into());
        assert!(Topic::new(&settings, "sensor").is_err_and(|reason| reason.contains("no.such.property")));
    }
}
