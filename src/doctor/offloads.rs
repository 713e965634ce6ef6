//! What the network card and the system do to frames before a capture sees them, and the card's ring, as the kernel's interface of
//! ethtool tells (netlink, Linux 5.6; documented in the kernel's `Documentation/networking/ethtool-netlink.rst`).

use ethtool::{EthtoolAttr, EthtoolFeatureAttr, EthtoolHandle, EthtoolRingAttr};
use futures_util::TryStreamExt;

use super::Check;

/// Longest frame that is merged from several (GRO, without BIG TCP), with its link header.
const MERGED_BYTES: u32 = 65_536 + 22;

/// What was found of a card.
#[derive(Debug, Default, PartialEq, Eq)]
struct Card {
    /// Features that are on, by the kernel's names.
    features: Vec<String>,
    /// Frames that the ring for reception holds, and that it could hold.
    ring: Option<(u32, u32)>,
}

pub(super) fn examine(name: &str, snap_length: u32, tell: &mut dyn FnMut(Check)) {
    match ask(name) {
        Ok(card) => {
            tell(offloads(name, &card.features, snap_length).of(name));
            if let Some((held, most)) = card.ring {
                tell(ring(name, held, most).of(name));
            }
        }
        Err(reason) => tell(
            Check::warning("offloads", format!("the kernel does not tell: {reason}"), format!("see ethtool -k {name}"))
                .of(name),
        ),
    }
}

fn ask(name: &str) -> Result<Card, String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let (connection, mut handle, _) = ethtool::new_connection().map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        let features = features(&mut handle, name).await?;
        // Virtual interfaces have no ring.
        let ring = ring_of(&mut handle, name).await.unwrap_or(None);
        Ok(Card { features, ring })
    })
}

async fn features(handle: &mut EthtoolHandle, name: &str) -> Result<Vec<String>, String> {
    let answers = handle.feature().get(Some(name)).execute().await.map_err(|error| error.to_string())?;
    let mut answers = std::pin::pin!(answers);
    let mut on = Vec::new();
    while let Some(answer) = answers.try_next().await.map_err(|error| error.to_string())? {
        for attribute in answer.payload.nlas {
            if let EthtoolAttr::Feature(EthtoolFeatureAttr::Active(bits)) = attribute {
                on.extend(bits.into_iter().filter(|bit| bit.value).map(|bit| bit.name));
            }
        }
    }
    Ok(on)
}

async fn ring_of(handle: &mut EthtoolHandle, name: &str) -> Result<Option<(u32, u32)>, String> {
    let answers = handle.ring().get(Some(name)).execute().await.map_err(|error| error.to_string())?;
    let mut answers = std::pin::pin!(answers);
    let (mut held, mut most) = (None, None);
    while let Some(answer) = answers.try_next().await.map_err(|error| error.to_string())? {
        for attribute in answer.payload.nlas {
            match attribute {
                EthtoolAttr::Ring(EthtoolRingAttr::Rx(count)) => held = Some(count),
                EthtoolAttr::Ring(EthtoolRingAttr::RxMax(count)) => most = Some(count),
                _ => {}
            }
        }
    }
    Ok(held.zip(most))
}

fn offloads(name: &str, features: &[String], snap_length: u32) -> Check {
    let on = |feature: &str| features.iter().any(|held| held == feature);
    let words = [
        ("rx-gro", "generic-receive-offload"),
        ("rx-gro-hw", "rx-gro-hw"),
        ("rx-lro", "large-receive-offload"),
        ("rx-vlan-hw-parse", "rx-vlan-offload"),
    ];
    let held: Vec<_> = words.iter().filter(|(feature, _)| on(feature)).map(|&(_, word)| word).collect();
    let found =
        if held.is_empty() { "none that changes frames".to_owned() } else { format!("on: {}", held.join(", ")) };
    if on("rx-lro") {
        let advice = format!("frames merged by LRO have lost what told them apart: ethtool -K {name} lro off");
        return Check::warning("offloads", found, advice);
    }
    if (on("rx-gro") || on("rx-gro-hw")) && snap_length < MERGED_BYTES {
        let advice = format!(
            "merged frames are longer than the {snap_length} bytes that are kept: ethtool -K {name} gro off, or raise --snap-length"
        );
        return Check::warning("offloads", found, advice);
    }
    Check::ok("offloads", found)
}

fn ring(name: &str, held: u32, most: u32) -> Check {
    let found = format!("room for {held} frames of {most}");
    match held < most {
        true => Check::warning("ring", found, format!("a larger one bridges bursts: ethtool -G {name} rx {most}")),
        false => Check::ok("ring", found),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn what_merges_frames_is_judged_by_what_is_kept_of_them() {
        let judged = |features: &[&str], snap| {
            offloads("eth1", &features.iter().map(|&name| name.to_owned()).collect::<Vec<_>>(), snap)
        };
        assert_eq!(judged(&["tx-checksum-ipv4"], 262_144).found, "none that changes frames");
        assert_eq!(judged(&["rx-gro", "rx-vlan-hw-parse"], 262_144).verdict, Verdict::Ok);
        let cut = judged(&["rx-gro"], 9_000);
        assert!(cut.verdict == Verdict::Warning && cut.advice.expect("what to do").contains("ethtool -K eth1 gro off"));
        let lro = judged(&["rx-gro", "rx-lro"], 262_144);
        assert!(lro.advice.expect("what to do").ends_with("ethtool -K eth1 lro off"));
    }

    #[test]
    fn a_small_ring_could_be_larger() {
        assert_eq!(ring("eth1", 4096, 4096).verdict, Verdict::Ok);
        assert_eq!(ring("eth1", 512, 4096).verdict, Verdict::Warning);
    }

    #[test]
    fn the_loopback_interface_tells() {
        let card = ask("lo").expect("Linux 5.6 and later tell");
        assert!(card.features.iter().any(|name| name == "rx-checksum"), "{card:?}");
        assert!(ask("no-such-if").is_err());
    }
}
