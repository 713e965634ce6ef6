//! What is shown where.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Row, Table, Widget};

use super::words::{bytes, count, percent, printable, seconds};
use super::{Address, Trouble};
use crate::detect::survey::{Busy, Suspicious};
use crate::metrics::{Health, Status, Usage};
use crate::sink;

/// Rows of drops, tables and sinks where there is little room: titles, and seven lines.
const PANEL: u16 = 9;

/// Lines above the panels.
const HEAD: u16 = 3;

/// Letters of an IPv6 address at most.
const LONGEST_ADDRESS: u16 = 39;

/// Columns of a panel below which names have more need of the room than some of the numbers.
const NARROW: u16 = 32;

/// Share of a budget from which on it is marked.
const FULL: f64 = 0.9;

const TITLE: Style = Style::new().add_modifier(Modifier::BOLD);
const CHOSEN: Style = TITLE.add_modifier(Modifier::REVERSED);
const HEADER: Style = Style::new().fg(Color::Cyan);
const BAD: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
const FAINT: Style = Style::new().add_modifier(Modifier::DIM);

/// A table that can be chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Focus {
    #[default]
    Busiest,
    Suspicious,
    Tables,
}

impl Focus {
    const ALL: [Focus; 3] = [Focus::Busiest, Focus::Suspicious, Focus::Tables];

    /// By what it can be sorted; the first is how it comes.
    const fn orders(self) -> &'static [&'static str] {
        match self {
            Focus::Busiest => &["calls", "bytes", "client"],
            Focus::Suspicious => &["evidence", "calls", "last seen"],
            Focus::Tables => &["share", "memory", "entries"],
        }
    }
}

/// What is shown: the last status, what went wrong since, and what was chosen.
#[derive(Debug)]
pub struct Screen {
    address: Address,
    status: Option<Status>,
    trouble: Option<String>,
    focus: Focus,
    /// Of each table.
    order: [usize; Focus::ALL.len()],
    scrolled: [usize; Focus::ALL.len()],
    /// Somebody sits before it who can press keys.
    keys: bool,
}

impl Screen {
    /// One for a picture that nobody acts on.
    pub fn new(address: Address) -> Screen {
        Screen {
            address,
            status: None,
            trouble: None,
            focus: Focus::default(),
            order: [0; Focus::ALL.len()],
            scrolled: [0; Focus::ALL.len()],
            keys: false,
        }
    }

    /// The same for who can press keys.
    pub(super) fn interactive(self) -> Screen {
        Screen { keys: true, ..self }
    }

    /// Takes what came of a question. Of a sensor that is gone the last status stays, with a word on it.
    pub fn take(&mut self, answer: Result<Status, Trouble>) {
        match answer {
            Ok(status) => (self.status, self.trouble) = (Some(status), None),
            Err(trouble) => self.trouble = Some(trouble.to_string()),
        }
    }

    /// The next table, or the one before.
    pub(super) fn choose(&mut self, steps: isize) {
        let places = Focus::ALL.len() as isize;
        let next = (self.focus as isize + steps).rem_euclid(places) as usize;
        self.focus = Focus::ALL.get(next).copied().unwrap_or_default();
    }

    /// The chosen table by its next order, or the one before.
    pub(super) fn sort(&mut self, steps: isize) {
        let places = self.focus.orders().len() as isize;
        if let Some(order) = self.order.get_mut(self.focus as usize) {
            *order = (*order as isize + steps).rem_euclid(places) as usize;
        }
    }

    /// The chosen table by so many rows.
    pub(super) fn scroll(&mut self, rows: isize) {
        let last = self.rows(self.focus).saturating_sub(1);
        if let Some(scrolled) = self.scrolled.get_mut(self.focus as usize) {
            *scrolled = scrolled.saturating_add_signed(rows).min(last);
        }
    }

    /// Rows of a table.
    fn rows(&self, table: Focus) -> usize {
        let Some(status) = &self.status else { return 0 };
        let standings = status.clients.as_ref().map(|clients| &clients.standings);
        match table {
            Focus::Busiest => standings.map_or(0, |standings| standings.busiest.len()),
            Focus::Suspicious => standings.map_or(0, |standings| standings.suspicious.len()),
            Focus::Tables => status.tables.len(),
        }
    }

    fn order(&self, table: Focus) -> usize {
        self.order.get(table as usize).copied().unwrap_or_default()
    }

    fn scrolled(&self, table: Focus) -> usize {
        self.scrolled.get(table as usize).copied().unwrap_or_default().min(self.rows(table).saturating_sub(1))
    }

    /// Lines that it takes to show all.
    pub(super) fn height(&self) -> u16 {
        let clients = [Focus::Busiest, Focus::Suspicious].map(|table| self.lines(table));
        HEAD.saturating_add(self.panels()).saturating_add(clients.iter().copied().fold(0, u16::saturating_add))
    }

    /// Lines of the panels: title, names of columns, rows, and one that parts them from what follows.
    fn panels(&self) -> u16 {
        let rows = |status: &Status| status.drops.len().max(status.tables.len()).max(status.sinks.len()).max(1) + 3;
        u16::try_from(self.status.as_ref().map_or(0, rows)).unwrap_or(u16::MAX)
    }

    /// The same of a table of clients.
    fn lines(&self, table: Focus) -> u16 {
        u16::try_from(self.rows(table).max(1) + 3).unwrap_or(u16::MAX)
    }

    /// Draws all of it into a part of a buffer.
    pub fn draw(&self, area: Rect, buffer: &mut Buffer) {
        // With room for everything nothing is cut.
        let panel = if area.height >= self.height() { self.panels() } else { self.panels().min(PANEL) };
        let [head, panels, clients] =
            Layout::vertical([Constraint::Length(HEAD), Constraint::Length(panel), Constraint::Min(0)]).areas(area);
        self.head(head, buffer);
        let Some(status) = &self.status else { return };
        let thirds = [Constraint::Fill(11), Constraint::Fill(10), Constraint::Fill(10)];
        let [drops, tables, sinks] = Layout::horizontal(thirds).spacing(2).areas(panels);
        self.drops(status, drops, buffer);
        self.tables(status, tables, buffer);
        self.sinks(status, sinks, buffer);
        let Some(known) = &status.clients else {
            let line = Line::styled("Clients: the detector has not come to look at them yet.", FAINT);
            return line.render(clients, buffer);
        };
        let half = if self.focus == Focus::Busiest { clients.height / 2 } else { clients.height / 3 };
        // What the other does not need is there for it.
        let most = half.max(clients.height.saturating_sub(self.lines(Focus::Suspicious)));
        let parts = [Constraint::Length(self.lines(Focus::Busiest).min(most)), Constraint::Min(0)];
        let [busiest, suspicious] = Layout::vertical(parts).areas(clients);
        let standings = &known.standings;
        let age = if known.age_seconds > 5.0 { format!(", {} ago", seconds(known.age_seconds)) } else { String::new() };
        let title = format!("Busiest clients of {} in {} s{age}", standings.known, standings.window_seconds);
        self.busiest(&title, &standings.busiest, busiest, buffer);
        self.suspicious(&standings.suspicious, suspicious, buffer);
    }

    fn head(&self, area: Rect, buffer: &mut Buffer) {
        let mut first = vec![Span::styled("apitap", TITLE)];
        let mut second = Vec::new();
        let mut third = Line::default();
        if let Some(status) = &self.status {
            let time = status.ts.to_string();
            first.push(Span::raw(format!(" {}", printable(&status.version))));
            first.push(Span::raw(format!("  {}Z", time.get(..19).unwrap_or(&time))));
            first.push(match status.health {
                Health::Ok => Span::raw("  ok"),
                Health::ConfigurationRefused => Span::styled("  configuration refused", BAD),
                Health::SinkFailing => Span::styled("  a sink fails", BAD),
                Health::InterfaceDown => Span::styled("  interface down", BAD),
                Health::Stuck => Span::styled("  stuck", BAD),
            });
            let open = status.tables.iter().find(|table| table.table == "flows").map_or(0, |table| table.entries);
            second = vec![
                format!("{} packets/s", count(status.packets.per_second)),
                format!("{}/s", bytes(status.bytes.per_second)),
                format!("{} calls/s", count(status.calls.per_second)),
                format!("{} flows, {} new/s", count(open as f64), count(status.flows.per_second)),
                format!("{} alerts", count(status.alerts.total as f64)),
            ];
            second.extend(status.resident_bytes.map(|resident| format!("{} of memory", bytes(resident as f64))));
            third = Line::styled(printable(&status.complaints.join("; ")).into_owned(), BAD);
        }
        first.push(Span::styled(format!("  at {}", printable(&self.address.to_string())), FAINT));
        if let Some(trouble) = &self.trouble {
            third = Line::styled(printable(trouble).into_owned(), BAD);
        } else if self.status.is_none() {
            third = Line::styled("no answer yet", FAINT);
        } else if self.keys && third.width() == 0 {
            let order = self.focus.orders().get(self.order(self.focus)).copied().unwrap_or_default();
            let help = format!("q quits  Tab chooses a table  ←→ sorts it (by {order})  ↑↓ moves through it");
            third = Line::styled(help, FAINT);
        }
        let lines = [Line::from(first), Line::from(second.join("   ")), third];
        for (line, row) in lines.into_iter().zip(area.rows()) {
            line.render(row, buffer);
        }
    }

    fn drops(&self, status: &Status, area: Rect, buffer: &mut Buffer) {
        // Without their stages, which the causes tell, where those have no room.
        let longest = status.drops.iter().map(|drop| drop.stage.len() + drop.cause.len() + 1).max().unwrap_or_default();
        let stages = longest + 12 <= usize::from(area.width);
        let narrow = area.width < NARROW;
        let rows = status.drops.iter().map(|drop| {
            let stage = if stages { format!("{} ", drop.stage) } else { String::new() };
            let name = format!("{stage}{}", drop.cause.replace('_', " "));
            let style = if drop.rate.per_second > 0.0 { BAD } else { Style::new() };
            let (rate, total) = (count(drop.rate.per_second), count(drop.rate.total as f64));
            if narrow { row([name, total]) } else { row([name, rate, total]) }.style(style)
        });
        let rows = rows.collect();
        let columns: &[_] = if narrow { &[("all", 5)] } else { &[("/s", 5), ("all", 5)] };
        panel(area, buffer, ("Drops", TITLE), "", columns, rows);
    }

    fn tables(&self, status: &Status, area: Rect, buffer: &mut Buffer) {
        let mut tables: Vec<&Usage> = status.tables.iter().collect();
        match self.order(Focus::Tables) {
            1 => tables.sort_by_key(|table| std::cmp::Reverse(table.bytes)),
            2 => tables.sort_by_key(|table| std::cmp::Reverse(table.entries)),
            _ => tables.sort_by(|one, other| fullness(other).total_cmp(&fullness(one))),
        }
        let narrow = area.width < NARROW;
        let rows = tables.into_iter().skip(self.scrolled(Focus::Tables)).map(|table| {
            let entries = if table.limit > 0 { count(table.entries as f64) } else { "-".to_owned() };
            let share = fullness(table);
            let style = if share >= FULL { BAD } else { Style::new() };
            let (name, memory, share) = (table.table.clone(), bytes(table.bytes as f64), percent(share));
            if narrow { row([name, share]) } else { row([name, entries, memory, share]) }.style(style)
        });
        let rows = rows.collect();
        let title = ("Memory, of its budget", self.title(Focus::Tables));
        let columns: &[_] = if narrow { &[("share", 6)] } else { &[("entries", 7), ("memory", 8), ("share", 6)] };
        panel(area, buffer, title, "table", columns, rows);
    }

    fn sinks(&self, status: &Status, area: Rect, buffer: &mut Buffer) {
        let narrow = area.width < NARROW;
        let rows = status.sinks.iter().map(|sink: &sink::Status| {
            let lost = sink.dropped + sink.rejected;
            let style = if sink.failure.is_some() || lost > 0 { BAD } else { Style::new() };
            let name = if sink.failure.is_some() { format!("{} (down)", sink.name) } else { sink.name.clone() };
            let waits = (sink.spooled + sink.queued) as f64;
            let (waits, lost) = (count(waits), count(lost as f64));
            let (lag, spool) = (seconds(sink.lag_seconds), bytes(sink.spool_bytes as f64));
            if narrow { row([name, waits, lost]) } else { row([name, lag, waits, spool, lost]) }.style(style)
        });
        let rows = rows.collect();
        let columns: &[_] =
            if narrow { &[("waits", 5), ("lost", 5)] } else { &[("lag", 7), ("waits", 5), ("spool", 8), ("lost", 5)] };
        panel(area, buffer, ("Sinks", TITLE), "sink", columns, rows);
        if status.sinks.is_empty() {
            let place = Rect { y: area.y + 2, height: area.height.saturating_sub(2).min(1), ..area };
            Line::styled("standard output alone", FAINT).render(place, buffer);
        }
    }

    fn busiest(&self, title: &str, clients: &[Busy], area: Rect, buffer: &mut Buffer) {
        let mut clients: Vec<&Busy> = clients.iter().collect();
        match self.order(Focus::Busiest) {
            1 => clients.sort_by_key(|busy| std::cmp::Reverse(busy.bytes)),
            2 => clients.sort_by_key(|busy| busy.ip),
            _ => clients.sort_by_key(|busy| std::cmp::Reverse(busy.calls)),
        }
        let rows = clients.into_iter().skip(self.scrolled(Focus::Busiest));
        let rows = rows.map(|busy| row([busy.ip.to_string(), count(busy.calls as f64), bytes(busy.bytes as f64)]));
        let widths = [Constraint::Length(LONGEST_ADDRESS), Constraint::Length(7), Constraint::Length(9)];
        table(
            area,
            buffer,
            (title, self.title(Focus::Busiest)),
            &["client", "calls", "bytes"],
            rows.collect(),
            &widths,
        );
    }

    fn suspicious(&self, clients: &[Suspicious], area: Rect, buffer: &mut Buffer) {
        let mut clients: Vec<&Suspicious> = clients.iter().collect();
        match self.order(Focus::Suspicious) {
            1 => clients.sort_by_key(|one| std::cmp::Reverse(one.calls)),
            2 => clients.sort_by_key(|one| std::cmp::Reverse(one.last)),
            _ => clients.sort_by(|one, other| other.share.total_cmp(&one.share)),
        }
        let longest = clients.iter().map(|one| one.ip.to_string().len()).max().unwrap_or_default() as u16;
        let rows = clients.into_iter().skip(self.scrolled(Focus::Suspicious)).map(|one| {
            let style = if one.incidents.is_empty() { Style::new() } else { Style::new().fg(Color::Yellow) };
            let last = one.last.map(|last| last.to_string()).unwrap_or_default();
            let last = last.get(11..19).unwrap_or("-").to_owned();
            let calls = count(one.calls as f64);
            row([one.ip.to_string(), percent(one.share), calls, last, incidents(one), evidence(one)]).style(style)
        });
        let lengths = [longest.max(8), 9, 5, 8].map(Constraint::Length);
        let widths = [&lengths[..], &[Constraint::Fill(1), Constraint::Fill(1)]].concat();
        let columns = ["client", "evidence", "calls", "last", "open incidents", "tests: decades of those asked for"];
        let title = ("Most suspicious clients", self.title(Focus::Suspicious));
        table(area, buffer, title, &columns, rows.collect(), &widths);
    }

    fn title(&self, table: Focus) -> Style {
        if self.keys && self.focus == table { CHOSEN } else { TITLE }
    }
}

/// The part of its budget, or of its entries, that a table takes: the larger.
fn fullness(table: &Usage) -> f64 {
    let share = |part: u64, whole: u64| if whole > 0 { part as f64 / whole as f64 } else { 0.0 };
    share(table.bytes, table.budget_bytes).max(share(table.entries, table.limit))
}

fn incidents(one: &Suspicious) -> String {
    let incident = |incident: &crate::detect::survey::OpenIncident| {
        let severity = format!("{:?}", incident.severity).to_lowercase();
        let endpoint = incident.endpoint.as_deref().map(|endpoint| format!(" {endpoint}")).unwrap_or_default();
        format!("{} ({severity}){endpoint}", incident.kind)
    };
    let all: Vec<_> = one.incidents.iter().map(incident).collect();
    if all.is_empty() { "-".to_owned() } else { all.join(", ") }
}

fn evidence(one: &Suspicious) -> String {
    let test = |evidence: &crate::detect::survey::Evidence| {
        let name = evidence.test.replace('_', " ");
        format!("{name} {:.1}/{:.1}", evidence.decades, evidence.threshold_decades)
    };
    let all: Vec<_> = one.evidence.iter().map(test).collect();
    if all.is_empty() { "-".to_owned() } else { all.join(", ") }
}

/// A row of cells, in none of which is left what a terminal would obey.
fn row<const CELLS: usize>(cells: [String; CELLS]) -> Row<'static> {
    Row::new(cells.map(|cell| Cell::from(printable(&cell).into_owned())))
}

/// A panel's table: names that take what room there is, and numbers in columns of such widths.
fn panel(
    area: Rect,
    buffer: &mut Buffer,
    title: (&str, Style),
    name: &'static str,
    numbers: &[(&'static str, u16)],
    rows: Vec<Row<'static>>,
) {
    let columns: Vec<_> = std::iter::once(name).chain(numbers.iter().map(|(column, _)| *column)).collect();
    let lengths = numbers.iter().map(|&(_, length)| Constraint::Length(length));
    let widths: Vec<_> = std::iter::once(Constraint::Fill(1)).chain(lengths).collect();
    table(area, buffer, title, &columns, rows, &widths);
}

/// A title, names of columns, and rows, of which those beyond the area are left out.
fn table(
    area: Rect,
    buffer: &mut Buffer,
    (title, style): (&str, Style),
    columns: &[&'static str],
    rows: Vec<Row<'static>>,
    widths: &[Constraint],
) {
    if area.height == 0 {
        return;
    }
    Line::styled(title.to_owned(), style).render(Rect { height: 1, ..area }, buffer);
    let rest = Rect { y: area.y + 1, height: area.height - 1, ..area };
    Table::new(rows, widths.to_vec())
        .header(Row::new(columns.to_vec()).style(HEADER))
        .column_spacing(1)
        .render(rest, buffer);
}

#[cfg(test)]
mod tests;
