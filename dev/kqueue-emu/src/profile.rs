//! What each kernel does where they differ: every difference is a field, and a kernel is a set of values.

/// A kernel whose semantics can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// macOS.
    Xnu,
    /// FreeBSD 13 and later.
    FreeBsd,
    /// NetBSD 10.
    NetBsd,
    /// NetBSD 7 (measured on 7.99.34).
    NetBsd7,
    /// OpenBSD 7.
    OpenBsd,
}

impl Kernel {
    /// Every one of them.
    pub const ALL: [Kernel; 5] = [Kernel::Xnu, Kernel::FreeBsd, Kernel::NetBsd, Kernel::NetBsd7, Kernel::OpenBsd];

    /// Its name in `KQUEUE_EMU_KERNEL`.
    pub const fn name(self) -> &'static str {
        match self {
            Kernel::Xnu => "xnu",
            Kernel::FreeBsd => "freebsd",
            Kernel::NetBsd => "netbsd",
            Kernel::NetBsd7 => "netbsd7",
            Kernel::OpenBsd => "openbsd",
        }
    }

    /// The kernel of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kernel| kernel.name() == name)
    }

    /// Its semantics.
    pub const fn profile(self) -> Profile {
        match self {
            Kernel::Xnu => Profile::XNU,
            Kernel::FreeBsd => Profile::FREEBSD,
            Kernel::NetBsd => Profile::NETBSD,
            Kernel::NetBsd7 => Profile::NETBSD7,
            Kernel::OpenBsd => Profile::OPENBSD,
        }
    }
}

/// When a change to an existing knote takes its values and evaluates its filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// Any change does, also a bare EV_ENABLE and one to a disabled knote.
    Always,
    /// Any change takes the values; the filter is evaluated if the knote is enabled afterwards.
    WhenEnabled,
    /// Only EV_ADD does.
    OnAdd,
}

/// What EV_ENABLE does beyond [`Touch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enable {
    /// Queues the knote if it was posted while it was disabled.
    QueuesPosted,
    /// Evaluates the filter, if the knote was disabled.
    EvaluatesIfDisabled,
}

/// When a queue posts the knotes of the queues that watch it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NestedPost {
    /// When a knote is queued and none was.
    OnNonEmpty,
    /// Each time that a knote is queued, a little later: the kernel hands it to a task.
    Task,
    /// Each time that a knote is queued.
    AtOnce,
}

/// How many connections a listener's backlog takes. A backlog of more than 128 is one of 128.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backlog {
    /// Complete and half-open ones, up to the backlog; if it is full, a half-open one is dropped for a new one. A
    /// backlog of 0 is one of 128.
    Total,
    /// Complete ones, until they are more than one and a half times the backlog.
    CompleteOneAndAHalf,
    /// Complete and half-open ones, until they are more than one and a half times the backlog.
    TotalOneAndAHalf,
    /// Complete and half-open ones, until they are more than three times the backlog.
    TotalThree,
}

/// What `shutdown(SHUT_RD)` of a listener does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Fails with ENOTCONN.
    Refused,
    /// Reports EV_EOF, and has the next `accept()` fail with ECONNABORTED; after that all is as before.
    AbortsOne,
    /// Nothing that an accept loop could see.
    Ignored,
}

/// The semantics of a kernel. Start from a constant and change a field to ask what a rule is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// A knote keeps the EV_CLEAR, EV_DISPATCH and EV_ONESHOT of its first EV_ADD when it is added again without.
    pub mode_sticks: bool,
    /// What a change to an existing knote evaluates.
    pub touch: Touch,
    /// What EV_ENABLE does beyond that.
    pub enable: Enable,
    /// `accept()` posts the listener's knotes again after it has taken a connection. The cause of the lost wake-ups
    /// on macOS: its kernel does not.
    pub accept_posts: bool,
    /// It does so before the connection is taken, so that taking the last one leaves a knote queued.
    pub posts_before_removal: bool,
    /// A listener's `data` counts half-open connections too.
    pub data_counts_half_open: bool,
    /// What becomes of a listener that is shut down.
    pub shutdown: Shutdown,
    /// EV_CLEAR and EV_DISPATCH together do not disable.
    pub clear_beats_dispatch: bool,
    /// EV_RECEIPT and errors keep the change's flags beside EV_ERROR; and a receipt with no slot left is dropped
    /// instead of ending the call.
    pub receipt_keeps_flags: bool,
    /// When an outer queue is posted.
    pub nested_post: NestedPost,
    /// A level-triggered knote that was reported and goes back to the queue posts the outer queue too.
    pub level_reposts_outer: bool,
    /// `accept()` with no descriptor left (EMFILE, ENFILE) takes the connection and closes it.
    pub emfile_closes: bool,
    /// A descriptor from `accept()` has the listener's O_NONBLOCK.
    pub nonblock_inherited: bool,
    /// A connection that was reset in the backlog is handed out, for IPv6 with no address, instead of ECONNABORTED.
    pub reset_is_handed_out: bool,
    /// Whether a socket is a listener is asked once, when its knote is attached.
    pub filter_chosen_at_attach: bool,
    /// EV_DELETE overrules EV_ADD, and EV_DISABLE overrules EV_ENABLE; receipts and events are without those then.
    pub overrules: bool,
    /// EV_DISABLE takes a posted knote from the queue at once, so that an outer queue does not count it any more.
    pub disable_dequeues: bool,
    /// EV_ONESHOT knotes too are evaluated again before they are reported.
    pub oneshot_evaluates: bool,
    /// Any change to a closed descriptor is EBADF; otherwise only EV_ADD, and the rest ENOENT.
    pub closed_is_ebadf: bool,
    /// An event's flags are without EV_ADD, EV_ENABLE and EV_DISABLE.
    pub hides_actions: bool,
    /// A queue has a level above those that it watches, and none watches one of a higher level than its own: refused
    /// with EINVAL, cycle or not.
    pub nesting_has_levels: bool,
    /// EVFILT_USER is there.
    pub user_events: bool,
    /// A change without EV_ADD sets a timer again too.
    pub any_change_sets_timer: bool,
    /// The `data` of a one-shot timer that is reported late counts periods, as that of others does.
    pub late_oneshot_counts: bool,
    /// NOTE bits that mean nothing for a timer are taken, instead of EINVAL.
    pub unknown_notes_are_taken: bool,
    /// A negative timer is EINVAL.
    pub negative_timer_refused: bool,
    /// A timer of 0 is EINVAL.
    pub zero_timer_refused: bool,
    /// A timer that has fired and is added again takes its event back.
    pub setting_takes_expiry_back: bool,
    /// poll(2) with no event asked for says POLLNVAL for a closed number.
    pub poll_finds_closed: bool,
    /// How much a listener's backlog takes.
    pub backlog: Backlog,
}

impl Profile {
    /// macOS.
    pub const XNU: Self = Self {
        mode_sticks: true,
        touch: Touch::Always,
        enable: Enable::QueuesPosted,
        accept_posts: false,
        posts_before_removal: false,
        data_counts_half_open: true,
        shutdown: Shutdown::Refused,
        clear_beats_dispatch: false,
        receipt_keeps_flags: true,
        nested_post: NestedPost::OnNonEmpty,
        level_reposts_outer: true,
        emfile_closes: true,
        nonblock_inherited: true,
        reset_is_handed_out: true,
        filter_chosen_at_attach: false,
        overrules: true,
        disable_dequeues: true,
        oneshot_evaluates: true,
        closed_is_ebadf: false,
        hides_actions: false,
        nesting_has_levels: true,
        user_events: true,
        any_change_sets_timer: true,
        late_oneshot_counts: true,
        unknown_notes_are_taken: true,
        negative_timer_refused: false,
        zero_timer_refused: false,
        setting_takes_expiry_back: false,
        poll_finds_closed: false,
        backlog: Backlog::Total,
    };

    /// FreeBSD 13 and later.
    pub const FREEBSD: Self = Self {
        mode_sticks: true,
        touch: Touch::WhenEnabled,
        enable: Enable::QueuesPosted,
        accept_posts: true,
        posts_before_removal: false,
        data_counts_half_open: false,
        shutdown: Shutdown::AbortsOne,
        clear_beats_dispatch: false,
        receipt_keeps_flags: false,
        nested_post: NestedPost::Task,
        level_reposts_outer: false,
        emfile_closes: false,
        nonblock_inherited: true,
        reset_is_handed_out: false,
        filter_chosen_at_attach: false,
        overrules: false,
        disable_dequeues: false,
        oneshot_evaluates: false,
        closed_is_ebadf: true,
        hides_actions: true,
        nesting_has_levels: false,
        user_events: true,
        any_change_sets_timer: false,
        late_oneshot_counts: false,
        unknown_notes_are_taken: false,
        negative_timer_refused: true,
        zero_timer_refused: false,
        setting_takes_expiry_back: true,
        poll_finds_closed: true,
        backlog: Backlog::CompleteOneAndAHalf,
    };

    /// NetBSD 10.
    pub const NETBSD: Self = Self {
        mode_sticks: true,
        touch: Touch::Always,
        enable: Enable::QueuesPosted,
        accept_posts: true,
        posts_before_removal: true,
        data_counts_half_open: false,
        shutdown: Shutdown::Ignored,
        clear_beats_dispatch: true,
        receipt_keeps_flags: false,
        nested_post: NestedPost::AtOnce,
        level_reposts_outer: false,
        emfile_closes: false,
        nonblock_inherited: true,
        reset_is_handed_out: false,
        filter_chosen_at_attach: true,
        overrules: false,
        disable_dequeues: false,
        oneshot_evaluates: false,
        closed_is_ebadf: true,
        hides_actions: false,
        nesting_has_levels: false,
        user_events: true,
        any_change_sets_timer: false,
        late_oneshot_counts: false,
        unknown_notes_are_taken: false,
        negative_timer_refused: false,
        zero_timer_refused: false,
        setting_takes_expiry_back: false,
        poll_finds_closed: true,
        backlog: Backlog::TotalOneAndAHalf,
    };

    /// NetBSD 7: a bare EV_ENABLE evaluates nothing, so a knote disabled by EV_DISPATCH with connections left over
    /// stays silent.
    pub const NETBSD7: Self =
        Self { touch: Touch::OnAdd, user_events: false, zero_timer_refused: true, ..Self::NETBSD };

    /// OpenBSD 7.
    pub const OPENBSD: Self = Self {
        mode_sticks: true,
        touch: Touch::OnAdd,
        enable: Enable::EvaluatesIfDisabled,
        accept_posts: true,
        posts_before_removal: false,
        data_counts_half_open: false,
        shutdown: Shutdown::Ignored,
        clear_beats_dispatch: false,
        receipt_keeps_flags: false,
        nested_post: NestedPost::Task,
        level_reposts_outer: true,
        emfile_closes: false,
        nonblock_inherited: true,
        reset_is_handed_out: false,
        filter_chosen_at_attach: true,
        overrules: false,
        disable_dequeues: false,
        oneshot_evaluates: true,
        closed_is_ebadf: true,
        hides_actions: false,
        nesting_has_levels: false,
        user_events: true,
        any_change_sets_timer: false,
        late_oneshot_counts: false,
        unknown_notes_are_taken: false,
        negative_timer_refused: false,
        zero_timer_refused: false,
        setting_takes_expiry_back: false,
        poll_finds_closed: true,
        backlog: Backlog::TotalThree,
    };
}
