//! Where the kernels differ: each difference is a field of [`Profile`], and a kernel is a set of values.

/// A kernel that can be imitated.
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
    /// All kernels.
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

    /// The kernel with that name.
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

/// Which changes to an existing knote store their values in it, and evaluate its filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// Every change, even a bare EV_ENABLE, and even when the knote is disabled.
    Always,
    /// Every change stores the values. The filter is evaluated if the knote is enabled afterwards.
    WhenEnabled,
    /// Only EV_ADD.
    OnAdd,
}

/// What EV_ENABLE does in addition to [`Touch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enable {
    /// It queues the knote if that was posted while it was disabled.
    QueuesPosted,
    /// It evaluates the filter if the knote was disabled.
    EvaluatesIfDisabled,
}

/// When a queue posts the knotes of the queues that watch it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NestedPost {
    /// When a knote is queued and no other was.
    OnNonEmpty,
    /// A little after each time that a knote is queued: the kernel leaves it to a task.
    Task,
    /// At once, each time that a knote is queued.
    AtOnce,
}

/// How many connections a listener's backlog holds. A backlog of more than 128 counts as 128.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backlog {
    /// Complete and half-open ones, up to the backlog. If it is full, a half-open one is dropped for a new one. A
    /// backlog of 0 counts as 128.
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
    /// It fails with ENOTCONN.
    Refused,
    /// It reports EV_EOF, and makes the next `accept()` fail with ECONNABORTED. After that, everything is as before.
    AbortsOne,
    /// It does nothing that an accept loop could see.
    Ignored,
}

/// The semantics of a kernel. To see what depends on one of them, change a field of a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// A knote keeps the EV_CLEAR, EV_DISPATCH and EV_ONESHOT of its first EV_ADD when it is added again without them.
    pub mode_sticks: bool,
    /// Which changes to an existing knote evaluate its filter.
    pub touch: Touch,
    /// What EV_ENABLE does in addition.
    pub enable: Enable,
    /// `accept()` posts the listener's knotes again after it has taken a connection. The kernel of macOS does not,
    /// which is the cause of the lost wake-ups there.
    pub accept_posts: bool,
    /// `accept()` posts them before it takes the connection, so taking the last connection leaves a knote queued.
    pub posts_before_removal: bool,
    /// A listener's `data` includes half-open connections.
    pub data_counts_half_open: bool,
    /// What shutting down a listener does.
    pub shutdown: Shutdown,
    /// EV_CLEAR and EV_DISPATCH together do not disable a knote that was reported.
    pub clear_beats_dispatch: bool,
    /// Receipts and errors keep the change's flags beside EV_ERROR, and a receipt for which no slot is left is dropped
    /// instead of ending the call.
    pub receipt_keeps_flags: bool,
    /// When a queue posts the knotes of the queues that watch it.
    pub nested_post: NestedPost,
    /// A level-triggered knote that was reported and is queued again posts the outer queue too.
    pub level_reposts_outer: bool,
    /// `accept()` without a free descriptor (EMFILE, ENFILE) takes the connection and closes it.
    pub emfile_closes: bool,
    /// A descriptor from `accept()` inherits the listener's O_NONBLOCK.
    pub nonblock_inherited: bool,
    /// `accept()` returns a connection that was reset in the backlog (for IPv6, without an address) instead of
    /// ECONNABORTED.
    pub reset_is_handed_out: bool,
    /// Whether a socket is a listener is decided once, when its knote is attached.
    pub filter_chosen_at_attach: bool,
    /// EV_DELETE overrules EV_ADD, and EV_DISABLE overrules EV_ENABLE. Receipts and events then do not have the
    /// overruled flag.
    pub overrules: bool,
    /// EV_DISABLE takes a queued knote out of its queue at once, so an outer queue does not count it any more.
    pub disable_dequeues: bool,
    /// EV_ONESHOT knotes are evaluated again before they are reported, as others are.
    pub oneshot_evaluates: bool,
    /// Every change to a closed descriptor fails with EBADF. Otherwise only EV_ADD does, and the other changes fail
    /// with ENOENT.
    pub closed_is_ebadf: bool,
    /// An event's flags do not include EV_ADD, EV_ENABLE and EV_DISABLE.
    pub hides_actions: bool,
    /// A queue has a higher level than those that it watches. Watching a queue of a higher level than its own is
    /// refused with EINVAL, even if it would not make a cycle.
    pub nesting_has_levels: bool,
    /// EVFILT_USER exists.
    pub user_events: bool,
    /// A change without EV_ADD sets a timer again, as EV_ADD does.
    pub any_change_sets_timer: bool,
    /// The `data` of a one-shot timer that is reported late counts the periods that have passed, as with other timers.
    pub late_oneshot_counts: bool,
    /// NOTE bits that mean nothing for a timer are ignored; otherwise they are EINVAL.
    pub unknown_notes_are_taken: bool,
    /// A negative timer is EINVAL.
    pub negative_timer_refused: bool,
    /// A timer of 0 is EINVAL.
    pub zero_timer_refused: bool,
    /// Adding a timer again that has fired takes its event back.
    pub setting_takes_expiry_back: bool,
    /// poll(2) with no event asked for says POLLNVAL for a closed number.
    pub poll_finds_closed: bool,
    /// How many connections a listener's backlog holds.
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

    /// NetBSD 7. A bare EV_ENABLE evaluates nothing, so a knote that EV_DISPATCH disabled stays silent about remaining
    /// connections.
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
