//! Three brokers of a test's own, with a proxy before each.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::proxy::{Mode, Proxy};
use crate::kafka::wait_until;

pub struct Cluster {
    folder: tempfile::TempDir,
    brokers: usize,
    /// Addresses at which clients come directly.
    pub bootstrap: String,
    proxies: Vec<Proxy>,
}

impl Cluster {
    /// `settings` are those of brokers, as `key=value`.
    pub fn start(brokers: usize, seed: u64, settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let proxies: Vec<Proxy> = (0..brokers).map(|number| Proxy::listen(seed + number as u64)).collect();
        let ports: Vec<String> = proxies.iter().map(|proxy| proxy.port.to_string()).collect();
        let mut command = Command::new("tests/kafka/start");
        command.args(["--brokers", &brokers.to_string(), "--advertise", &ports.join(",")]);
        for setting in settings {
            command.args(["--set", setting]);
        }
        let output = command.arg(folder.path()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let of = |key: &str| -> String {
            let line = text.lines().find_map(|line| line.strip_prefix(key));
            line.unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)))
                .to_owned()
        };
        for (number, proxy) in proxies.iter().enumerate() {
            proxy.forward_to(&of(&format!("behind.{}=", number + 1)));
        }
        Self {
            brokers,
            bootstrap: of("bootstrap="),
            proxies,
            folder,
        }
    }

    /// Addresses at which clients come through the proxies.
    pub fn proxied(&self) -> String {
        let addresses: Vec<String> = self
            .proxies
            .iter()
            .map(|proxy| format!("127.0.0.1:{}", proxy.port))
            .collect();
        addresses.join(",")
    }

    pub fn set(&self, mode: Mode) {
        self.proxies.iter().for_each(|proxy| proxy.set(mode));
    }

    /// Requests that the proxies swallowed, held or let come late.
    pub fn hits(&self) -> usize {
        self.proxies.iter().map(Proxy::hits).sum()
    }

    fn folder_of(&self, broker: usize) -> PathBuf {
        self.folder.path().join((broker + 1).to_string())
    }

    /// SIGTERM to one, and its end.
    pub fn stop(&self, broker: usize) {
        let done = Command::new("tests/kafka/stop")
            .arg(self.folder_of(broker))
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// kill -9
    pub fn kill(&self, broker: usize) {
        let pid = std::fs::read_to_string(self.folder_of(broker).join("pid")).unwrap();
        assert!(
            Command::new("kill")
                .args(["-9", pid.trim()])
                .status()
                .unwrap()
                .success()
        );
        let alive = PathBuf::from("/proc").join(pid.trim()).join("cmdline");
        wait_until("the broker is gone", Duration::from_secs(10), || {
            std::fs::read(&alive).is_ok_and(|line| line.is_empty()) || !alive.exists()
        });
    }

    /// Starts those that are gone.
    pub fn start_again(&self) {
        let mut command = Command::new("tests/kafka/start");
        command.args(["--brokers", &self.brokers.to_string()]);
        let done = command.arg(self.folder.path()).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = Command::new("tests/kafka/stop").arg(self.folder.path()).status();
    }
}
