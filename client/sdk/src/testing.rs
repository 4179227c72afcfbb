//! A real broker inside a test's process: the same log, files and protocols as the binary, on free ports.
//!
//! ```no_run
//! # async fn run() -> tidelog_client::Result<()> {
//! let broker = tidelog_client::testing::Broker::start().await?;
//! let client = broker.client().await?;
//! client.admin().create_topic(tidelog_client::NewTopic::new("orders")).await?;
//! # Ok(())
//! # }
//! ```

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use tempfile::TempDir;
use tidelog_broker::{Config, Server};

use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};

/// Free bytes below which the broker refuses records: tests write little.
const DISK_RESERVE_BYTES: u64 = 16 * 1024 * 1024;

/// A broker with its data in a directory of its own, which goes when the broker is dropped.
#[derive(Debug)]
pub struct Broker {
    /// `None` only while a restart is under way, or after one that failed.
    server: Option<Server>,
    api_addr: SocketAddr,
    kafka_addr: Option<SocketAddr>,
    data_dir: TempDir,
}

impl Broker {
    /// Starts an empty broker. It serves when this returns.
    ///
    /// # Errors
    /// When the temporary directory or the port cannot be had.
    pub async fn start() -> Result<Self> {
        let data_dir = tempfile::tempdir().map_err(|error| failed(&error))?;
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = start(data_dir.path(), any_port, Some(any_port)).await?;
        let (api_addr, kafka_addr) = (server.api_addr(), server.kafka_addr());
        Ok(Self { server: Some(server), api_addr, kafka_addr, data_dir })
    }

    /// What [`Client::connect`] takes.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.api_addr)
    }

    /// What Kafka clients take as `bootstrap.servers`.
    #[must_use]
    pub fn bootstrap_servers(&self) -> String {
        self.kafka_addr.map_or_else(String::new, |address| address.to_string())
    }

    /// A client of this broker.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn client(&self) -> Result<Client> {
        Client::connect(&self.url()).await
    }

    /// Where the broker keeps its files.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    /// Stops the broker; clients find nobody there until [`Self::resume`].
    ///
    /// # Errors
    /// When something could not be made durable.
    pub async fn stop(&mut self) -> Result<()> {
        match self.server.take() {
            Some(server) => server.shutdown().await.map_err(|error| failed(&error)),
            None => Ok(()),
        }
    }

    /// Starts a stopped broker again on the same data and the same address; does nothing if it runs.
    ///
    /// # Errors
    /// When somebody else has taken the port in between, or the data cannot be opened.
    pub async fn resume(&mut self) -> Result<()> {
        if self.server.is_none() {
            self.server = Some(start(self.data_dir.path(), self.api_addr, self.kafka_addr).await?);
        }
        Ok(())
    }

    /// Stops the broker and starts it again on the same data and the same address.
    ///
    /// # Errors
    /// As [`Self::stop`] and [`Self::resume`].
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await?;
        self.resume().await
    }
}

async fn start(data_dir: &Path, api_addr: SocketAddr, kafka_addr: Option<SocketAddr>) -> Result<Server> {
    let mut config = Config::new(data_dir);
    config.api_addr = api_addr;
    config.kafka_addr = kafka_addr;
    config.disk_reserve_bytes = Some(DISK_RESERVE_BYTES);
    Server::start(config).await.map_err(|error| failed(&error))
}

fn failed(error: &dyn std::error::Error) -> Error {
    Error::new(ErrorKind::Unreachable, format!("the test's broker: {error}"))
}
