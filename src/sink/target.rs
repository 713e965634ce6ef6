//! The receiver of one sink, of whichever type.

use super::delivery::Trouble;
use super::file::RotatedFile;
use super::format::Notice;
use super::printing::Printing;
use super::probe::Probe;
use super::services::Service;
use super::settings::{Settings, Type};
use super::syslog::Syslog;

/// A receiver.
pub(super) enum Target {
    /// Standard output, where a thread prints.
    Printing(Box<Printing>),
    /// A file.
    File(Box<RotatedFile>),
    /// A receiver of syslog.
    Syslog(Box<Syslog>),
    /// A service behind HTTP.
    Service(Box<Service>),
    /// A topic of Kafka.
    #[cfg(feature = "kafka")]
    Kafka(Box<super::kafka::Topic>),
}

impl Target {
    /// From checked settings; nothing is opened yet but the files that the settings name.
    ///
    /// # Errors
    ///
    /// What keeps it from ever working: a file with a secret or certificate that cannot be read, an address that is none.
    pub(super) fn new(settings: &Settings, sensor: &str) -> Result<Target, String> {
        Ok(match settings.r#type {
            Type::Stdout => return Err("standard output is no receiver".into()),
            Type::File => Target::File(Box::new(RotatedFile::new(settings, sensor)?)),
            Type::Syslog => Target::Syslog(Box::new(Syslog::new(settings, sensor)?)),
            Type::Webhook | Type::Elasticsearch | Type::Splunk | Type::Loki => {
                Target::Service(Box::new(Service::new(settings, sensor)?))
            }
            #[cfg(feature = "kafka")]
            Type::Kafka => Target::Kafka(Box::new(super::kafka::Topic::new(settings, sensor)?)),
            #[cfg(not(feature = "kafka"))]
            Type::Kafka => return Err("this apitap was built without the feature kafka".into()),
        })
    }

    /// Delivers lines, in order; `native` is the native form of each.
    pub(super) async fn deliver(&mut self, notices: &[Notice<'_>], native: &[Vec<u8>]) -> Result<(), Trouble> {
        match self {
            Target::Printing(printing) => printing.deliver(native).await,
            Target::File(file) => file.deliver(notices, native),
            Target::Syslog(syslog) => syslog.deliver(notices, native).await,
            Target::Service(service) => service.deliver(notices, native).await,
            #[cfg(feature = "kafka")]
            Target::Kafka(topic) => topic.deliver(notices, native).await,
        }
    }

    /// Looks whether the receiver is there, without a line.
    pub(super) async fn probe(&mut self) -> Probe {
        match self {
            Target::Printing(_) => Probe::Well("it is standard output".into()),
            Target::File(file) => file.probe(),
            Target::Syslog(syslog) => syslog.probe().await,
            Target::Service(service) => service.probe().await,
            #[cfg(feature = "kafka")]
            Target::Kafka(topic) => topic.probe().await,
        }
    }

    /// What was begun is given up: the next delivery begins anew.
    pub(super) fn reset(&mut self) {
        match self {
            Target::Printing(_) | Target::File(_) => {}
            Target::Syslog(syslog) => syslog.reset(),
            Target::Service(service) => service.reset(),
            #[cfg(feature = "kafka")]
            Target::Kafka(_) => {}
        }
    }

    /// There was nothing to do for a second.
    ///
    /// # Errors
    ///
    /// What is wrong with the receiver, if that is known without a line for it.
    pub(super) async fn idle(&mut self) -> Result<(), String> {
        match self {
            Target::File(file) => file.idle(),
            Target::Syslog(syslog) => return syslog.idle().await,
            _ => {}
        }
        Ok(())
    }

    /// There is nothing more to do.
    pub(super) async fn close(&mut self) {
        match self {
            Target::Syslog(syslog) => syslog.close().await,
            Target::File(file) => file.close(),
            _ => {}
        }
    }
}
