//! The network of a sandbox: its own, empty one, with listeners where declared hosts are expected.

use std::net::Ipv4Addr;

use crate::policy::Network;

/// What the inside of a sandbox is told about the network.
pub(crate) struct Plan {
    pub(crate) listeners: Vec<(Ipv4Addr, u16)>,
    pub(crate) hosts_file: String,
    pub(crate) env: Vec<(String, String)>,
}

impl Plan {
    pub(crate) fn new(_network: &Network) -> Self {
        Self {
            listeners: Vec::new(),
            hosts_file: "127.0.0.1 localhost sandbox\n::1 localhost\n".into(),
            env: Vec::new(),
        }
    }
}
