//! The shell: threads, channels, signals, and the order of a stop.
//!
//! ```text
//!  signals --> main thread: wait for readings, link, questions, deadline
//!                drain the queue -> turn (seal, commit what is due) -> poll -> link
//!  stop: end sampling -> drain -> seal, sync, close -> flush the link -> exit
//! ```
//! Promises: SIGTERM and SIGINT end in a clean stop within seconds, for which a link in back-off dials at once;
//! a second one ends at once; a thread that panics ends the process, for the supervisor to start it again.
//! Never: a queue without a bound.

mod alarm;
mod answer;
mod buses;
mod file;
mod health;
mod memo;
mod models;
mod order;
mod pipeline;
mod seen;
pub mod setup;
mod told;

use std::time::Duration;

use anyhow::Context;
use crossbeam_channel::{Receiver, Select, Sender, bounded};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

pub use answer::Surroundings;
use buses::Buses;
use memo::Memo;
use models::Models;
pub use pipeline::Pipeline;
use told::Told;

use crate::clock::{Now, StampClock};
use crate::config::Config;
use crate::deliver::Deliver;
use crate::forward::link::LinkEvent;
use crate::forward::mqtt::MqttLink;
use crate::identity;
use crate::notify::{self, Notice};
use crate::sample::SensorBoard;
use crate::sequencer::{self, Intake, QUEUE_COUNT_MAX};
use crate::spool::disk::RealDisk;
use crate::status::{self, Asker, ControlSocket, Orders, Questions, StatusSocket, read_memory};
use crate::supervise::Notifier;

/// Answers of the broker between two turns: both windows and the acknowledgements of a second, several
/// times over. The link waits when it is full.
const LINK_EVENTS_MAX: usize = 1024;
/// The longest wait between two turns: suspend does not count in a wait, but in deadlines.
const WAIT_MS_MAX: u64 = 1000;
/// How long the last words may take.
const FLUSH_MS_MAX: u64 = 5000;
const SIGNAL_STACK_LEN: usize = 128 * 1024;

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// What makes a start impossible although the configuration is right, or a thread that cannot be had.
pub fn run(config: &Config) -> anyhow::Result<()> {
    end_with_panics();
    let stop = stop_signal()?;
    let buses = Buses::open(config)?;
    let clock = buses.clock.clone();
    // Every simulated vehicle has a boot of its own; they may share a machine.
    let boot_id = match buses.boot_id {
        Some(boot_id) => boot_id,
        None => identity::boot_id()?,
    };
    let identity = setup::process_identity(config, identity::draw_epoch()?, boot_id);
    tracing::info!(
        device = %identity.device, epoch = %identity.epoch, version = %identity.software, "starting"
    );
    // An asker stays here: without any, the pipeline would find the end of the questions in every turn.
    let (asker, questions) = status::questions();
    let _socket = StatusSocket::open(&config.status.socket, asker.clone())
        .inspect_err(|error| tracing::warn!(%error, "nobody can ask for the status"));
    expose(config, &asker);
    let (_control, orders) = match ControlSocket::open(&config.status.control_socket) {
        Ok((socket, orders)) => (Some(socket), orders),
        Err(error) => {
            tracing::warn!(%error, "nobody can give orders");
            (None, crossbeam_channel::never())
        }
    };
    let disk = Box::new(RealDisk::new(&config.spool.dir));
    let delivery = setup::deliver_config(config, identity::draw_u64()?);
    let now = clock.now();
    let mut deliver = Deliver::open(delivery, identity.clone(), disk, now.real_ms);
    let (event_sender, events) = bounded(LINK_EVENTS_MAX);
    let mqtt = setup::mqtt_config(config, &identity, identity::draw_u64()?)
        .context("broker.prefix and device.id make the topics too long")?;
    let memo = Memo::open(config, mqtt.floor.clone(), &mut deliver);
    let link = MqttLink::start(mqtt, event_sender).context("no thread for the link")?;
    let (issuer, intake) = sequencer::queue(QUEUE_COUNT_MAX);
    let sensor_count = config.sensors().count();
    let board = SensorBoard::new(sensor_count);
    let supervisor = Notifier::from_environment(sensor_count > 0, now.real_ms);
    let threads = buses.start(config, &issuer, &board)?;
    let mut pipeline = Pipeline::new(config, identity, deliver, now);
    let models = Models::open(config, &mut pipeline.scorer, now);
    let told = Told::open(config, &mut pipeline, now);
    let mut notifier = notify::Notifier::start(&config.notify);
    for alert in pipeline.standing_alerts() {
        let is_news = false;
        notifier.tell(Notice { alert, is_news });
    }
    let mut shell = Shell {
        pipeline,
        clock,
        intake,
        events,
        questions,
        orders,
        stop,
        board,
        link,
        memo,
        supervisor,
        models,
        told,
        notifier,
    };
    shell.work();
    tracing::info!("stopping");
    shell.supervisor.stopping();
    threads.stop();
    shell.close();
    tracing::info!("stopped");
    Ok(())
}

/// Lets Prometheus ask, where somebody wants it.
fn expose(config: &Config, asker: &Asker) {
    let Some(listen) = config.metrics.listen else {
        return;
    };
    match status::serve_metrics(listen, asker.clone()) {
        Ok(address) => tracing::info!("figures at http://{address}/metrics"),
        Err(error) => tracing::warn!(%listen, %error, "nobody can read the figures"),
    }
}

/// A panic is a defect. Going on without one of our threads would be a gateway that looks alive.
fn end_with_panics() {
    std::panic::set_hook(Box::new(|info| {
        let thread = std::thread::current();
        tracing::error!(thread = thread.name(), "{info}");
        std::process::exit(1);
    }));
}

/// A channel that says when to stop. A second signal ends the process at once.
fn stop_signal() -> anyhow::Result<Receiver<()>> {
    let (sender, stop) = bounded(1);
    let mut signals = Signals::new([SIGTERM, SIGINT]).context("no signals")?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .stack_size(SIGNAL_STACK_LEN)
        .spawn(move || watch(&mut signals, &sender))
        .context("no thread for signals")?;
    Ok(stop)
}

fn watch(signals: &mut Signals, sender: &Sender<()>) {
    for _ in signals.forever() {
        if sender.try_send(()).is_err() {
            tracing::warn!("stopped at once by a second signal");
            std::process::exit(1);
        }
    }
}

struct Shell {
    pipeline: Pipeline,
    clock: StampClock,
    intake: Intake,
    events: Receiver<LinkEvent>,
    questions: Questions,
    orders: Orders,
    stop: Receiver<()>,
    board: SensorBoard,
    link: MqttLink,
    memo: Memo,
    supervisor: Notifier,
    models: Models,
    told: Told,
    notifier: notify::Notifier,
}

impl Shell {
    fn work(&mut self) {
        while self.stop.is_empty() {
            let now = self.clock.now();
            self.pipeline.drain(now, &mut self.intake);
            self.hear(now);
            self.pipeline.turn(now, self.intake.next_seq(), read_memory);
            let anchor = self.pipeline.keeper.best();
            self.memo.turn(now, anchor, &mut self.pipeline.deliver);
            self.told.turn(now, &mut self.pipeline);
            self.notify();
            self.models.turn(now, &mut self.pipeline.scorer);
            self.obey(now);
            self.speak(now);
            self.answer(now);
            self.report(now);
            self.wait();
        }
    }

    /// The end of a turn: everything that was due is done.
    fn report(&mut self, now: Now) {
        let pipeline = &self.pipeline;
        self.supervisor
            .turned(now.real_ms, self.board.rounds(), || pipeline.sentence());
    }

    fn hear(&mut self, now: Now) {
        for event in self.events.try_iter().take(LINK_EVENTS_MAX) {
            self.pipeline.link(now, event);
        }
    }

    fn speak(&mut self, now: Now) {
        while let Some(command) = self.pipeline.poll(now) {
            // What does not fit is in flight without an answer: delivery gives such a connection up.
            if self.link.send(command).is_err() {
                tracing::debug!("the link is behind");
            }
        }
    }

    fn answer(&mut self, now: Now) {
        for question in self.questions.try_iter() {
            let around = Surroundings {
                board: &self.board,
                next_seq: self.intake.next_seq(),
                queue_depth: self.intake.depth(),
                memory: read_memory(),
            };
            let report = self.pipeline.status(now, around);
            let answer = serde_json::to_vec(&report).unwrap_or_default();
            // Who asked may have given up.
            question.answer.try_send(answer).ok();
        }
    }

    fn notify(&mut self) {
        for alert in self.pipeline.take_told() {
            let is_news = true;
            self.notifier.tell(Notice { alert, is_news });
        }
    }

    /// Orders are answered when what they change is written down.
    fn obey(&mut self, now: Now) {
        for ordered in self.orders.try_iter() {
            let outcome = order::obey(&mut self.pipeline, now, &ordered.order);
            self.told.turn(now, &mut self.pipeline);
            // Who asked may have given up.
            ordered.answer.try_send(outcome).ok();
        }
    }

    fn wait(&self) {
        let due_ms = self.pipeline.deadline_real_ms(&self.clock);
        let wait_ms = due_ms
            .saturating_sub(self.clock.now().real_ms)
            .min(WAIT_MS_MAX);
        let mut select = Select::new();
        select.recv(self.intake.receiver());
        select.recv(&self.events);
        select.recv(&self.questions);
        select.recv(&self.orders);
        select.recv(&self.stop);
        // Whether something is ready or the time is over, the next turn looks at everything.
        select.ready_timeout(Duration::from_millis(wait_ms)).ok();
    }

    /// Drains and closes, then gives the link a bounded time for the last words.
    fn close(&mut self) {
        let now = self.clock.now();
        while self.intake.depth() > 0 {
            self.pipeline.drain(now, &mut self.intake);
        }
        self.pipeline.drain(now, &mut self.intake);
        self.hear(now);
        self.pipeline
            .stop(now, self.intake.next_seq(), read_memory());
        self.link.hurry();
        self.told.turn(now, &mut self.pipeline);
        self.notify();
        self.notifier.close();
        self.models.close(now, &mut self.pipeline.scorer);
        let until_ms = now.real_ms.saturating_add(FLUSH_MS_MAX);
        loop {
            let now = self.clock.now();
            self.hear(now);
            self.speak(now);
            if self.pipeline.is_closed() || now.real_ms >= until_ms {
                self.memo.close(&self.pipeline.deliver);
                return;
            }
            let wait = Duration::from_millis(until_ms - now.real_ms);
            let mut select = Select::new();
            select.recv(&self.events);
            select.ready_timeout(wait).ok();
        }
    }
}
