//! What was seen, and everything that was dropped, evicted, truncated or not understood, by name.
//!
//! A loss that nobody can see is the worst bug here, so each stage counts into one [`Counters`] table, which the
//! summary and the `stats` records print whole. A counter is one line in the table below.

use serde::ser::{Serialize, SerializeMap, Serializer};

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// One named count.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Counter { $($(#[doc = $doc])+ $variant,)+ }

        impl Counter {
            /// Every counter, in the order in which they are printed.
            pub const ALL: &'static [Counter] = &[$(Counter::$variant),+];

            /// Its name in the summary, in JSON and in metrics.
            pub const fn name(self) -> &'static str {
                match self { $(Counter::$variant => $name),+ }
            }

            /// What it counts, as one sentence for the operator.
            pub const fn help(self) -> &'static str {
                match self { $(Counter::$variant => concat!($($doc),+)),+ }
            }
        }
    };
}

counters! {
    // source
    /// Frames read from files or interfaces.
    Frames = "frames",
    /// Captured bytes of these frames.
    FrameBytes = "frame_bytes",
    /// Frames cut off by the capture's snap length.
    FramesSnapped = "frames_snapped",
    /// Frames whose time lies before that of an earlier frame.
    FramesOutOfOrder = "frames_out_of_order",
    /// Times that a clock of packets was found to be more than ten seconds behind: it was set back, or there are several. The
    /// times of its packets are told that much later.
    ClockJumpsBack = "clock_jumps_back",
    /// Times that the packets' time went forward by more than an hour: a pause, or their clock was set.
    ClockJumpsForward = "clock_jumps_forward",
    /// Blocks of a pcapng file that were skipped, being of no known kind.
    BlocksSkipped = "blocks_skipped",
    /// Threads that read a live interface, each from a kernel buffer of its own.
    Readers = "readers",
    /// Size of the kernel's buffers of a live interface, all together.
    KernelBufferBytes = "kernel_buffer_bytes",
    /// Times that the live interface went down, or away.
    InterfaceOutages = "interface_outages",
    /// Live interfaces that are down, or away, at present.
    InterfacesDown = "interfaces_down",
    /// Packets that the kernel dropped because the buffer was full.
    KernelDrops = "kernel_drops",
    /// Packets that the interface or its driver dropped.
    InterfaceDrops = "interface_drops",

    // packet
    /// TCP segments handed to reassembly.
    Segments = "segments",
    /// Packets that were seen before and not parsed again.
    DuplicatePackets = "duplicate_packets",
    /// Packets forgotten before their copies could have come, because the table was full.
    DuplicatesForgotten = "duplicates_forgotten",
    /// Conversations seen in two encapsulations that were forgotten to be one because the table was full.
    EncapsulationLinksEvicted = "encapsulation_links_evicted",
    /// Frames of a link type that is not understood.
    UnknownLinkType = "unknown_link_type",
    /// Frames whose network protocol is neither IP nor a known tunnel (ARP and the like).
    NotIp = "not_ip",
    /// IP packets that carry no TCP.
    NotTcp = "not_tcp",
    /// Packets whose headers end before they should or contradict themselves.
    MalformedPackets = "malformed_packets",
    /// Packets nested in more tunnels than configured.
    TunnelTooDeep = "tunnel_too_deep",
    /// Segments with a wrong checksum, dropped because verification was asked for.
    BadChecksum = "bad_checksum",
    /// IP fragments received.
    Fragments = "fragments",
    /// IP packets put together from fragments.
    FragmentsReassembled = "fragments_reassembled",
    /// Fragments dropped: budget reached, contradictory, or too many holes.
    FragmentsDropped = "fragments_dropped",
    /// Unfinished IP packets given up after the time-out.
    FragmentsTimedOut = "fragments_timed_out",
    /// Fragments that overlap others with other content.
    FragmentsOverlapping = "fragments_overlapping",

    // stream
    /// TCP flows begun.
    Flows = "flows",
    /// Flows taken up in the middle, without a handshake.
    FlowsMidstream = "flows_midstream",
    /// Flows of which only one direction was seen.
    FlowsOneSided = "flows_one_sided",
    /// Flows that never came past the handshake.
    FlowsHalfOpen = "flows_half_open",
    /// Flows evicted because the table was full, or because too many had the same addresses and ports in different layers.
    FlowsEvicted = "flows_evicted",
    /// Half-open flows evicted because their share of the table was full.
    HalfOpenEvicted = "half_open_evicted",
    /// Segments that came before an earlier one and were held back.
    SegmentsReordered = "segments_reordered",
    /// Segments that repeat data already seen.
    SegmentsRetransmitted = "segments_retransmitted",
    /// Segments that overlap held data with other content; the first copy is kept.
    SegmentsConflicting = "segments_conflicting",
    /// Segments far outside the window, ignored.
    SegmentsOutOfWindow = "segments_out_of_window",
    /// Holes in the data of a flow that were given up.
    Gaps = "gaps",
    /// Bytes missing in these holes.
    GapBytes = "gap_bytes",
    /// Holes given up because the reassembly budget was reached.
    GapsByBudget = "gaps_by_budget",
    /// Flows whose addresses and ports were taken by a new connection.
    FlowsReused = "flows_reused",
    /// Resets that the other end ignored.
    ResetsIgnored = "resets_ignored",

    // tls
    /// Secrets taken from key logs and from captures.
    KeylogSecrets = "keylog_secrets",
    /// Lines of key logs that are none.
    KeylogLinesUnreadable = "keylog_lines_unreadable",
    /// Connections whose secrets were forgotten because the key log was full.
    KeylogEvicted = "keylog_evicted",
    /// Flows that speak TLS.
    FlowsTls = "flows_tls",
    /// Flows in TLS that were taken up without their beginning; of these no more is known than how much they carry.
    TlsBeginningsUnseen = "tls_beginnings_unseen",
    /// Hellos that could not be read: of SSL 2.0, damaged, too large, or from the wrong end.
    TlsHellosUnread = "tls_hellos_unread",
    /// Flows in TLS whose records were opened with keys.
    TlsDecrypted = "tls_decrypted",
    /// Flows in TLS that were followed no further although there are key logs: without keys in time, or with keys that do not
    /// fit, or of a version or cipher that is not understood.
    TlsGivenUp = "tls_given_up",
    /// Records of TLS dropped while they waited for keys.
    TlsRecordsDropped = "tls_records_dropped",
    /// Records of TLS that their keys do not open.
    TlsRecordsRefused = "tls_records_refused",
    /// Records of TLS that are missing before others, by their numbers.
    TlsRecordsMissing = "tls_records_missing",
    /// Places in flows where a record of TLS should begin, and none does.
    TlsRecordsMalformed = "tls_records_malformed",
    /// Handshake messages of TLS passed over for being larger than configured.
    TlsMessagesTooLarge = "tls_messages_too_large",
    /// Handshakes of TLS within connections, behind their first.
    TlsRenegotiations = "tls_renegotiations",
    /// Connections whose early data the server did not take.
    TlsEarlyDataRefused = "tls_early_data_refused",

    // http
    /// Calls completed.
    Calls = "calls",
    /// Calls whose response was not seen.
    CallsWithoutResponse = "calls_without_response",
    /// Calls whose request was not seen.
    CallsWithoutRequest = "calls_without_request",
    /// Calls with an anomaly in their framing or syntax.
    CallsAnomalous = "calls_anomalous",
    /// Calls of which a part was lost in a gap.
    CallsWithGaps = "calls_with_gaps",
    /// Records of connections that were worth one though no call, or none yet, came of them.
    Connections = "connections",
    /// Flows that carry no HTTP.
    FlowsNotHttp = "flows_not_http",
    /// Flows that went on as another protocol after CONNECT or Upgrade.
    FlowsUpgraded = "flows_upgraded",
    /// Heads dropped for being larger than configured.
    HeadsTooLarge = "heads_too_large",
    /// Heads with more cookies or header fields of the API's own, or longer ones, than sensitive values are looked for in.
    HeadsInspectedInPart = "heads_inspected_in_part",
    /// Bytes skipped while looking for the next head after a loss or a syntax error.
    BytesSkipped = "bytes_skipped",
    /// Requests given up because too many were waiting for a response in one connection.
    PendingRequestsDropped = "pending_requests_dropped",
    /// Bodies whose decoding stopped at the configured output or ratio, or with a message of gRPC beyond its limit.
    BodiesTruncated = "bodies_truncated",
    /// Bodies whose content encoding, or that of their messages, was damaged or unknown.
    BodiesUndecodable = "bodies_undecodable",
    /// Bodies that came before and were not inspected again.
    BodiesRecalled = "bodies_recalled",
    /// Requests in GraphQL, JSON-RPC or SOAP of which not all that they ask for is known.
    OperationsUnread = "operations_unread",

    // websocket
    /// WebSockets opened.
    WebSockets = "websockets",
    /// Messages of WebSockets.
    WebSocketMessages = "websocket_messages",
    /// Compressed messages of WebSockets not decoded, or not to their end: what they refer to was lost, a limit was
    /// reached, too many were to be decoded, or they were damaged.
    WebSocketMessagesUndecoded = "websocket_messages_undecoded",
    /// How often a loss left unknown where the next frame of a WebSocket begins.
    WebSocketsLost = "websockets_lost",

    // http2
    /// Flows that speak HTTP/2.
    FlowsHttp2 = "flows_http2",
    /// Header blocks of HTTP/2 that could not be decoded.
    Http2BlocksMalformed = "http2_blocks_malformed",
    /// Header blocks of HTTP/2 dropped from where they became larger than configured.
    Http2BlocksTooLarge = "http2_blocks_too_large",
    /// Header blocks of HTTP/2 in more CONTINUATION frames than configured.
    Http2Continuations = "http2_continuations",
    /// Header lists of HTTP/2 cut at the configured bytes or fields.
    Http2ListsCut = "http2_lists_cut",
    /// Header lists of HTTP/2 for which old entries of the table were forgotten to keep to its configured size.
    Http2TablesCut = "http2_tables_cut",
    /// Header fields of HTTP/2 that refer to what was not seen.
    Http2FieldsUnknown = "http2_fields_unknown",
    /// Streams of HTTP/2 given up because too many of one connection were open.
    Http2StreamsEvicted = "http2_streams_evicted",
    /// Streams of HTTP/2 of which neither the request's method nor the response's status was seen.
    Http2StreamsUnknown = "http2_streams_unknown",
    /// Streams of HTTP/2 that the client reset before the answer was whole.
    Http2Resets = "http2_resets",
    /// Ten seconds in which a connection of HTTP/2 brought more frames that carry nothing than configured.
    Http2ControlFloods = "http2_control_floods",
    /// Requests that the server refused without any processing (REFUSED_STREAM, GOAWAY); they are no calls.
    Http2Refused = "http2_refused",
    /// Bodies of HTTP/2 not decoded because too many of one connection were on their way.
    BodiesNotDecoded = "bodies_not_decoded",

    // inspect
    /// Bodies inspected only up to the configured length.
    InspectionTruncated = "inspection_truncated",

    /// Calls, and records of connections, handed on before all others of the same moment were known: the packets' time stood
    /// still, or had gone back, for longer than they are held.
    RecordsUnordered = "records_unordered",
    /// Segments dropped live because the workers were behind.
    SegmentsDropped = "segments_dropped",
    /// Calls, and records of connections, dropped live because the detector was behind.
    CallsDropped = "calls_dropped",

    // records
    /// Records read from logs, the skipped ones included; headers, comments and empty lines are none.
    Records = "records",
    /// Records of other kinds than HTTP, skipped (alerts, flows, DNS and the like).
    RecordsOther = "records_of_other_kinds",
    /// Records of what was no HTTP request, skipped (a handshake of TLS, a connection without a request).
    RecordsWithoutRequest = "records_without_request",
    /// Records that name the client or its peer by something else than an address, skipped.
    RecordsUnattributed = "records_unattributed",
    /// Records that came later than the look-ahead reaches; they were taken none the less.
    RecordsLate = "records_late",

    // detect
    /// Checkpoints of what was learned.
    CheckpointsWritten = "checkpoints_written",
    /// Checkpoints that could not be written.
    CheckpointsFailed = "checkpoints_failed",
    /// Records that an earlier run had taken.
    RecordsPassedOver = "records_passed_over",
    /// Files with packets of incidents that were begun.
    EvidenceFiles = "evidence_files",
    /// Packets of incidents that were written.
    EvidencePackets = "evidence_packets",
    /// Bytes of the files with packets of incidents that were written.
    EvidenceBytes = "evidence_bytes",
    /// Files with packets of incidents that were deleted to make room for others.
    EvidenceFilesDeleted = "evidence_files_deleted",
    /// Packets of incidents that were left out because a file, or all of them together, had come to their limit.
    EvidencePacketsLeftOut = "evidence_packets_left_out",
    /// Packets that were lost to the files of incidents: live, because their recorder was behind, or because they could not be written.
    EvidencePacketsDropped = "evidence_packets_dropped",
    /// Times that a file with packets of incidents could not be written or deleted.
    EvidenceWritesFailed = "evidence_writes_failed",
    /// Calls and lines of incidents forgotten before their packets were sought, because there were too many.
    EvidenceCallsForgotten = "evidence_calls_forgotten",
    /// Incidents whose packets were kept no longer because more were open than the setting `incidents` of `[evidence]` allows.
    EvidenceIncidentsForgotten = "evidence_incidents_forgotten",
    /// Calls that the detector took.
    CallsDetected = "calls_detected",
    /// Records of connections that the detector took.
    ConnectionsDetected = "connections_detected",
    /// Lines of calls and records that could not be read.
    CallsUnreadable = "calls_unreadable",
    /// Clients forgotten because the table was full.
    ClientsEvicted = "clients_evicted",
    /// Endpoints forgotten because the table was full.
    EndpointsEvicted = "endpoints_evicted",
    /// What else the detector remembered and forgot because its tables were full: principals, groups, roles, holders of credentials,
    /// misses, places, fields written and returned, askers, servers.
    EntriesEvicted = "entries_evicted",
    /// Series of encrypted connections forgotten because there were too many.
    SeriesEvicted = "series_evicted",
    /// Fields of bodies that the detectors did not look at, or did not remember, because there were too many.
    FieldsLeftOut = "fields_left_out",
    /// Path segments forgotten because there were too many to remember.
    SegmentsForgotten = "path_segments_forgotten",
    /// Good answers that taught no endpoint: one client alone created too many paths, or a path had too many methods.
    CallsUntaught = "calls_untaught",
    /// Redirections at endpoints that no good answer had taught by then; what does nothing but redirect is in no inventory.
    RedirectsUntaught = "redirects_untaught",
    /// Calls of clients that were accused, or that mostly ask for what is not there; they teach no endpoint.
    CallsOfSuspects = "calls_of_suspects",
    /// Endpoints that were left out of the inventory because nobody but suspects was answered there.
    EndpointsOfSuspects = "endpoints_of_suspects",
    /// Endpoints and operations of which the inventory forgot all but that they are there, because there were too many.
    InventoryForgotten = "inventory_forgotten",
    /// Fields of bodies and parameters of queries that the inventory left out for lack of room.
    SchemaFieldsDropped = "schema_fields_dropped",
    /// Findings forgotten because there were more than the setting `findings` allows.
    FindingsForgotten = "findings_forgotten",
    /// Endpoints, servers and users of quotas that the practices forgot because there were too many.
    PracticeForgotten = "practice_forgotten",
    /// Findings printed as they came.
    Findings = "findings",
    /// Events told: something new in the inventory.
    Events = "events",
    /// News that were not told, because more was known already than can be remembered.
    EventsUntold = "events_untold",
    /// News that were not told, because a review says that they are none.
    EventsReviewed = "events_reviewed",
    /// Alerts printed.
    Alerts = "alerts",
    /// Incidents that closed early because more were open than the setting `incidents` allows.
    IncidentsClosedEarly = "incidents_closed_early",
    /// Calls that nobody is held to account for: a trusted proxy sent them, and what it said of the client was lost.
    ClientsUnknown = "clients_unknown",
    /// Findings of incidents that are open already, and not told again.
    AlertsSuppressed = "alerts_suppressed",
}

const COUNT: usize = Counter::ALL.len();

/// The value of each [`Counter`]; a fixed-size table that costs an addition to write.
#[derive(Clone, Debug)]
pub struct Counters {
    values: [u64; COUNT],
}

impl Default for Counters {
    fn default() -> Self {
        Counters { values: [0; COUNT] }
    }
}

impl Counters {
    /// All zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more.
    #[inline]
    pub fn count(&mut self, counter: Counter) {
        self.add(counter, 1);
    }

    /// `amount` more.
    #[inline]
    pub fn add(&mut self, counter: Counter, amount: u64) {
        let value = &mut self.values[counter as usize];
        *value = value.saturating_add(amount);
    }

    /// Replaces the value, for counts that another party keeps (the kernel's drops).
    pub fn set(&mut self, counter: Counter, value: u64) {
        self.values[counter as usize] = value;
    }

    /// The value so far.
    pub fn value(&self, counter: Counter) -> u64 {
        self.values[counter as usize]
    }

    /// Adds what another thread counted.
    pub fn merge(&mut self, other: &Counters) {
        for (mine, theirs) in self.values.iter_mut().zip(other.values) {
            *mine = mine.saturating_add(theirs);
        }
    }

    /// The counters that are not zero, in the order of [`Counter::ALL`].
    pub fn nonzero(&self) -> impl Iterator<Item = (Counter, u64)> + '_ {
        Counter::ALL.iter().map(|&counter| (counter, self.value(counter))).filter(|&(_, value)| value > 0)
    }
}

/// As an object of all counters that are not zero.
impl Serialize for Counters {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (counter, value) in self.nonzero() {
            map.serialize_entry(counter.name(), &value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_merging_adds() {
        let mut names: Vec<_> = Counter::ALL.iter().map(|counter| counter.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Counter::ALL.len());

        let (mut one, mut two) = (Counters::new(), Counters::new());
        one.count(Counter::Frames);
        two.add(Counter::Frames, 4);
        one.merge(&two);
        assert_eq!(one.value(Counter::Frames), 5);
        assert_eq!(one.nonzero().count(), 1);
        assert_eq!(serde_json::to_string(&one).expect("a map of numbers"), r#"{"frames":5}"#);
    }
}
