//! Retries and dead letters of queue groups, for operators.
//!
//! The group knows where each dead letter is; what it is, its copy tells. A redrive goes through them in the order of
//! their places, a few at a time, so that consumers get new records too, and can be stopped at any time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidelog_core::delivery::{DeadLetter, DeadLetterFacts, QueueConfig, Redrive, Selector};
use tidelog_model::record::Record;
use tidelog_model::{GroupId, Offset, PartitionIndex, TopicName};
use tokio::time::Instant;

use super::Broker;
use crate::error::BrokerError;
use crate::queue::{
    self, Ask, LetterDone, LetterOrder, LetterPlace, QueuePage, QueuePlace, QueueScope, RetryPage, read_at,
};

/// How many dead letters are looked at together.
const LETTERS_AT_ONCE: usize = 500;
/// How many are looked at for one page of a list, at most.
const LOOKED_AT_MAX: usize = 20_000;
/// How often a redrive tells how far it is, at least.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// A dead letter with its copy.
#[derive(Debug, Clone)]
pub struct ListedDeadLetter {
    /// The topic of the record.
    pub topic: TopicName,
    /// The partition of the record.
    pub partition: PartitionIndex,
    /// Where it is.
    pub letter: DeadLetter,
    /// The topic that the copy is in.
    pub dead_letter_topic: TopicName,
    /// How it died, and the copy; `None` when that cannot be read any more.
    pub copy: Option<(DeadLetterFacts, Record)>,
}

/// Dead letters to hand out again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedriveSpec {
    /// Which.
    pub selector: Selector,
    /// Names the redrive: a dead letter is handed out once under each name.
    pub id: u64,
    /// How many a second.
    pub rate: u32,
    /// Only count.
    pub dry_run: bool,
}

/// How far a redrive is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RedriveProgress {
    /// Dead letters looked at.
    pub seen: u64,
    /// Those that are meant.
    pub selected: u64,
    /// Those that are handed out again.
    pub redriven: u64,
    /// Those that this redrive has handed out before.
    pub had_it: u64,
    /// Those that were redriven as often as they may be.
    pub too_often: u64,
    /// Those whose record retention has deleted from its topic: they stay dead letters.
    pub gone: u64,
}

impl Broker {
    /// Records that wait for their next attempt, from a place on.
    ///
    /// # Errors
    /// `GROUP_ID_NOT_FOUND`.
    pub async fn list_retries(
        &self,
        group: &GroupId,
        scope: QueueScope,
        from: Option<QueuePlace>,
        limit: usize,
    ) -> Result<RetryPage, BrokerError> {
        self.inner.queues.get(group)?.ask(|asker| Ask::Retries(scope, from, limit, asker)).await
    }

    /// Lets records that wait for their next attempt be handed out at once; durable when it returns. How many.
    ///
    /// # Errors
    /// `GROUP_ID_NOT_FOUND`.
    pub async fn retry_now(&self, group: &GroupId, scope: QueueScope) -> Result<u64, BrokerError> {
        self.inner.queues.get(group)?.ask(|asker| Ask::RetryNow(scope, asker)).await
    }

    /// Dead letters that are not resolved, from a place on. Where to go on is told when there may be more, also when
    /// none was found among those looked at.
    ///
    /// # Errors
    /// `GROUP_ID_NOT_FOUND`; or as reading the copies fails.
    pub async fn list_dead_letters(
        &self,
        group: &GroupId,
        selector: &Selector,
        mut from: Option<QueuePlace>,
        limit: usize,
    ) -> Result<QueuePage<ListedDeadLetter>, BrokerError> {
        let (mut found, mut looked_at) = (Vec::new(), 0_usize);
        loop {
            let page = self.letters_from(group, selector, from, LETTERS_AT_ONCE).await?;
            looked_at = looked_at.saturating_add(page.found.len());
            for listed in self.with_copies(group, page.found).await? {
                if !is_selected(selector, &listed) {
                    continue;
                }
                let (topic, partition) = (listed.topic.clone(), listed.partition);
                if found.len() == limit {
                    let next = Some(QueuePlace { topic, partition, offset: listed.letter.offset });
                    return Ok(QueuePage { found, next });
                }
                found.push((topic, partition, listed));
            }
            from = page.next;
            if from.is_none() || looked_at >= LOOKED_AT_MAX {
                return Ok(QueuePage { found, next: from });
            }
        }
    }

    /// A name for a redrive that no other has.
    #[must_use]
    pub fn new_redrive(&self) -> u64 {
        // 0 is no redrive.
        uuid::Uuid::new_v4().as_u64_pair().0.max(1)
    }

    /// Hands dead letters out again, to the group that failed and to nobody else; `tell` hears how far it is and
    /// says whether to go on. What was done is durable when it is told.
    ///
    /// # Errors
    /// `GROUP_ID_NOT_FOUND`; or as reading the copies fails.
    pub async fn redrive(
        &self,
        group: &GroupId,
        spec: &RedriveSpec,
        mut tell: impl FnMut(RedriveProgress) -> bool + Send,
    ) -> Result<RedriveProgress, BrokerError> {
        let mut progress = RedriveProgress::default();
        let (started, mut from) = (Instant::now(), None);
        loop {
            let page = self.letters_from(group, &spec.selector, from, LETTERS_AT_ONCE).await?;
            let seen = u64::try_from(page.found.len()).unwrap_or(0);
            progress.seen = progress.seen.saturating_add(seen);
            let places = self.selected(group, &spec.selector, page.found).await?;
            let selected = u64::try_from(places.len()).unwrap_or(0);
            progress.selected = progress.selected.saturating_add(selected);
            let goes_on = spec.dry_run
                || self.redrive_some(group, spec, &places, started, &mut progress, &mut tell).await?;
            from = page.next;
            if from.is_none() || !goes_on || !tell(progress) {
                return Ok(progress);
            }
        }
    }

    /// Hands these out again, as fast as the rate allows; whether to go on.
    async fn redrive_some(
        &self,
        group: &GroupId,
        spec: &RedriveSpec,
        places: &[LetterPlace],
        started: Instant,
        progress: &mut RedriveProgress,
        tell: &mut (impl FnMut(RedriveProgress) -> bool + Send),
    ) -> Result<bool, BrokerError> {
        let rate = spec.rate.max(1);
        let at_once = usize::try_from(rate.div_ceil(10)).unwrap_or(1).clamp(1, LETTERS_AT_ONCE);
        for some in places.chunks(at_once) {
            let done = self.order(group, LetterOrder::Redrive(spec.id), some.to_vec()).await?;
            done.iter().for_each(|one| progress.count(*one));
            if !tell(*progress) {
                return Ok(false);
            }
            // As many as the rate allows since it began.
            let handed_out = u32::try_from(progress.redriven).unwrap_or(u32::MAX);
            let due = Duration::from_secs_f64(f64::from(handed_out) / f64::from(rate));
            pause_until(started + due, || tell(*progress)).await;
        }
        Ok(true)
    }

    /// Takes dead letters for done with; durable when it returns. How many.
    ///
    /// # Errors
    /// `GROUP_ID_NOT_FOUND`; or as reading the copies fails.
    pub async fn resolve_dead_letters(
        &self,
        group: &GroupId,
        selector: &Selector,
        dry_run: bool,
    ) -> Result<u64, BrokerError> {
        let (mut from, mut resolved) = (None, 0_u64);
        loop {
            let page = self.letters_from(group, selector, from, LETTERS_AT_ONCE).await?;
            let places = self.selected(group, selector, page.found).await?;
            let count = if dry_run {
                places.len()
            } else {
                let done = self.order(group, LetterOrder::Resolve, places).await?;
                done.iter().filter(|one| **one == LetterDone::Resolved(true)).count()
            };
            resolved = resolved.saturating_add(u64::try_from(count).unwrap_or(0));
            from = page.next;
            if from.is_none() {
                return Ok(resolved);
            }
        }
    }

    async fn order(
        &self,
        group: &GroupId,
        order: LetterOrder,
        places: Vec<LetterPlace>,
    ) -> Result<Vec<LetterDone>, BrokerError> {
        self.inner.queues.get(group)?.ask(|asker| Ask::Letters(order, places, asker)).await
    }

    async fn letters_from(
        &self,
        group: &GroupId,
        selector: &Selector,
        from: Option<QueuePlace>,
        limit: usize,
    ) -> Result<QueuePage<DeadLetter>, BrokerError> {
        let scope = QueueScope {
            topic: selector.topic.clone(),
            partition: selector.partition,
            first: selector.offsets.iter().map(|(first, _)| *first).min(),
            last: selector.offsets.iter().map(|(_, last)| *last).max(),
        };
        self.inner.queues.get(group)?.ask(|asker| Ask::DeadLetters(scope, from, limit, asker)).await
    }

    /// The places of those that are meant.
    async fn selected(
        &self,
        group: &GroupId,
        selector: &Selector,
        letters: Vec<(TopicName, PartitionIndex, DeadLetter)>,
    ) -> Result<Vec<LetterPlace>, BrokerError> {
        if selector.is_place_only() {
            let places =
                letters.into_iter().map(|(topic, partition, letter)| (topic, partition, letter.offset));
            let meant =
                |(topic, partition, offset): &LetterPlace| selector.has_place(topic, *partition, *offset);
            return Ok(places.filter(meant).collect());
        }
        let listed = self.with_copies(group, letters).await?.into_iter();
        let meant = listed.filter(|listed| is_selected(selector, listed));
        Ok(meant.map(|listed| (listed.topic, listed.partition, listed.letter.offset)).collect())
    }

    /// Reads the copies of dead letters.
    async fn with_copies(
        &self,
        group: &GroupId,
        letters: Vec<(TopicName, PartitionIndex, DeadLetter)>,
    ) -> Result<Vec<ListedDeadLetter>, BrokerError> {
        let stored = self.stored_queue(group).await?;
        let config = QueueConfig::resolve(&stored.definition.configs)
            .map_err(|error| BrokerError::internal(error.to_string()))?;
        let dead_letter_topic = queue::topic_of(group, &config.dead_letters)?;
        let mut wanted: BTreeMap<PartitionIndex, Vec<Offset>> = BTreeMap::new();
        for (.., letter) in &letters {
            wanted.entry(letter.partition).or_default().push(letter.place);
        }
        let topic = self.topic(&dead_letter_topic);
        let mut copies = BTreeMap::new();
        for (index, mut places) in wanted {
            places.sort_unstable();
            let partition = topic.as_ref().and_then(|topic| topic.partition(index)).map(Arc::clone);
            let Some(partition) = partition else { continue };
            read_at(&partition, &places, |record| drop(copies.insert((index, record.offset), record)))
                .await?;
        }
        let listed = letters.into_iter().map(|(topic, partition, letter)| {
            let copy = copies.remove(&(letter.partition, letter.place));
            let copy = copy.and_then(|copy| Some((facts_of(&copy)?, copy))).filter(|(facts, _)| {
                let place = (&facts.topic, facts.partition, facts.offset);
                facts.group == *group && place == (&topic, partition, letter.offset)
            });
            let dead_letter_topic = dead_letter_topic.clone();
            ListedDeadLetter { topic, partition, letter, dead_letter_topic, copy }
        });
        Ok(listed.collect())
    }
}

impl RedriveProgress {
    fn count(&mut self, done: LetterDone) {
        let counter = match done {
            LetterDone::Redrive(Redrive::Done) => &mut self.redriven,
            LetterDone::Redrive(Redrive::HadIt) => &mut self.had_it,
            LetterDone::Redrive(Redrive::TooOften { .. }) => &mut self.too_often,
            LetterDone::Gone => &mut self.gone,
            LetterDone::Redrive(Redrive::NotDead) | LetterDone::Resolved(_) => return,
        };
        *counter = counter.saturating_add(1);
    }
}

/// Waits, and asks now and then whether to go on.
async fn pause_until(until: Instant, mut goes_on: impl FnMut() -> bool) {
    loop {
        let next = until.min(Instant::now() + TELL_EVERY);
        tokio::time::sleep_until(next).await;
        if next == until || !goes_on() {
            return;
        }
    }
}

fn is_selected(selector: &Selector, listed: &ListedDeadLetter) -> bool {
    match &listed.copy {
        Some((facts, copy)) => selector.has(facts, copy),
        None => {
            selector.is_place_only()
                && selector.has_place(&listed.topic, listed.partition, listed.letter.offset)
        }
    }
}

fn facts_of(copy: &Record) -> Option<DeadLetterFacts> {
    let headers = copy.headers.iter().filter_map(|(name, value)| Some((name.as_ref(), value.as_deref()?)));
    DeadLetterFacts::read(headers).ok()
}
