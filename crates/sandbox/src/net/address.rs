//! Which addresses a declared public host may lead to. Pure.
//!
//! Source of the ranges: the IANA special-purpose address registries (RFC 6890 and its updates).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why an address is not of the public internet.
pub(super) fn refuse_unless_public(address: IpAddr) -> Option<&'static str> {
    match plain(address) {
        IpAddr::V4(v4) => refuse_v4(v4),
        IpAddr::V6(v6) => refuse_v6(v6),
    }
}

/// Why an address is refused even where private ones are approved.
pub(super) fn refuse_metadata(address: IpAddr) -> Option<&'static str> {
    match plain(address) {
        IpAddr::V4(v4) if v4.is_link_local() => Some("link-local or a metadata service"),
        IpAddr::V4(v4) if v4 == Ipv4Addr::new(100, 100, 100, 200) => Some("a metadata service"),
        IpAddr::V4(v4) if v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast() => {
            Some("not one host")
        }
        IpAddr::V6(v6) if v6.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] => {
            Some("a metadata service")
        }
        IpAddr::V6(v6) if v6.segments()[0] & 0xffc0 == 0xfe80 => Some("link-local"),
        IpAddr::V6(v6) if v6.is_unspecified() || v6.is_multicast() => Some("not one host"),
        _ => None,
    }
}

/// An IPv4 address in IPv6 clothes is judged as what it is.
fn plain(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    let s = v6.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match s {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            embedded(high, low)
        }
        [0x2002, high, low, ..] => embedded(high, low),
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => embedded(high, low),
        _ => address,
    }
}

fn refuse_v4(v4: Ipv4Addr) -> Option<&'static str> {
    let [a, b, c, _] = v4.octets();
    match (a, b, c) {
        _ if v4.is_loopback() => Some("this machine's loopback"),
        _ if v4.is_private() => Some("private"),
        _ if v4.is_link_local() => Some("link-local or a metadata service"),
        (0, ..) => Some("not a host"),
        (100, 64..=127, _) => Some("shared address space (CGNAT)"),
        (192, 0, 0 | 2) | (198, 51, 100) | (203, 0, 113) => Some("reserved"),
        (192, 88, 99) => Some("a relay address"),
        (198, 18..=19, _) => Some("a benchmarking address"),
        (224.., ..) => Some("multicast or reserved"),
        _ => None,
    }
}

fn refuse_v6(v6: Ipv6Addr) -> Option<&'static str> {
    let s = v6.segments();
    match s[0] {
        _ if v6.is_loopback() => Some("this machine's loopback"),
        _ if s[0] & 0xfe00 == 0xfc00 => Some("private (ULA)"),
        _ if s[0] & 0xffc0 == 0xfe80 => Some("link-local"),
        0x2001 if s[1] == 0 || s[1] == 0xdb8 || s[1] & 0xfff0 == 0x10 || s[1] & 0xfff0 == 0x20 => {
            Some("a tunnel or reserved address")
        }
        0x2000..=0x3ffe => None,
        _ => Some("not a global unicast address"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn public(text: &str) -> bool {
        refuse_unless_public(text.parse().unwrap()).is_none()
    }

    #[test]
    fn only_addresses_of_the_public_internet_pass() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "93.184.216.34",
            "2606:4700::1111",
            "::ffff:1.1.1.1",
            "100.63.255.255",
            "172.32.0.1",
        ] {
            assert!(public(text), "{text}");
        }
        for text in [
            "127.0.0.1",
            "127.9.9.9",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.255.255",
            "0.0.0.0",
            "0.1.2.3",
            "192.0.0.1",
            "192.0.2.1",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2002:0a00:0001::1",
            "2001::1",
            "2001:db8::1",
            "::127.0.0.1",
            "5f00::1",
            "100::1",
        ] {
            assert!(!public(text), "{text}");
        }
    }

    #[test]
    fn metadata_stays_refused_where_private_addresses_are_approved() {
        for text in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "100.100.100.200",
            "fd00:ec2::254",
            "fe80::1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "::",
        ] {
            assert!(refuse_metadata(text.parse().unwrap()).is_some(), "{text}");
        }
        for text in ["127.0.0.1", "10.1.2.3", "192.168.0.9", "::1", "fd12::1"] {
            assert!(refuse_metadata(text.parse().unwrap()).is_none(), "{text}");
        }
    }
}
