use super::*;

/// The events of one kind that come within a few seconds: a node has a thread of its own.
fn wait(node: &Node, mut wanted: impl FnMut(&Event) -> bool) -> Event {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(event) = node.events.drain().into_iter().find(|event| wanted(event)) {
            return event;
        }
        assert!(Instant::now() < deadline, "the event did not come");
        std::thread::yield_now();
    }
}

fn done(node: &Node, ticket: u64) -> String {
    match wait(node, |event| matches!(event, Event::Done(id, _) if *id == ticket)) {
        Event::Done(_, text) => text,
        other => panic!("{other:?}"),
    }
}

fn edge_on(address: SocketAddr) -> Command {
    Command::ServeEdge(address, EdgeOptions::default())
}

#[test]
fn a_listener_answers_its_ticket_and_a_taken_address_says_so() {
    let node = Node::start().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    node.command(1, edge_on(address));
    let text = done(&node, 1);
    assert!(
        text.starts_with(&format!("HAWSE-2013 cannot listen on TCP {address}")),
        "{text}"
    );
    node.command(2, edge_on("127.0.0.1:0".parse().unwrap()));
    assert_eq!(done(&node, 2), "");
    node.close();
}

#[test]
fn close_joins_the_thread_and_later_commands_fail_at_once() {
    let node = Node::start().unwrap();
    node.command(1, edge_on("127.0.0.1:0".parse().unwrap()));
    assert_eq!(done(&node, 1), "");
    node.close();
    node.close();
    node.command(2, edge_on("127.0.0.1:0".parse().unwrap()));
    assert!(done(&node, 2).contains("closing"));
}

#[test]
fn a_drain_ends_listeners_of_visitors_for_good_and_leaves_those_of_agents() {
    let node = Node::start().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    node.command(1, edge_on(address));
    assert_eq!(done(&node, 1), "");
    node.command(2, Command::DrainEdge(Duration::from_secs(600)));
    assert_eq!(done(&node, 2), "", "nobody was there to wait for");
    assert!(std::net::TcpStream::connect(address).is_err());
    node.command(3, edge_on(address));
    assert!(done(&node, 3).contains("drains"));
    node.command(4, Command::DrainEdge(Duration::ZERO));
    assert_eq!(done(&node, 4), "", "once more is no error");
    node.close();
}

#[tokio::test]
async fn a_task_that_panics_becomes_an_event_that_names_it() {
    let node = Node::start().unwrap();
    let (mut tasks, mut names) = (JoinSet::new(), HashMap::new());
    let task = tasks.spawn(async { panic!("index {} out of bounds", 7) });
    names.insert(task.id(), "listener for agents".to_owned());
    let ended = tasks.join_next_with_id().await.unwrap();
    report(&node, &mut names, ended);
    let Event::Failed(text) = wait(&node, |event| matches!(event, Event::Failed(_))) else {
        unreachable!();
    };
    assert_eq!(text, "listener for agents: index 7 out of bounds");
    assert!(names.is_empty());
    node.close();
}

#[test]
fn a_snapshot_counts_dropped_events_and_lists_links() {
    let node = Node::start().unwrap();
    let snapshot = node.snapshot();
    assert_eq!((snapshot.links.len(), snapshot.events_dropped), (0, 0));
    node.close();
}
