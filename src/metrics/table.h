/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every metric, one entry each: X(ID, KIND, unit, "name", "help"). COUNTER only grows; GAUGE goes
 * up and down. From these entries are made: enum metric, the metrics reference, $SYS/skein/<name>,
 * and (summed or renamed in sys.c) the $SYS/broker names that MQTT users know. To add a metric, add
 * an entry. A limit that is hit has one of its own, so that every limit can be seen to bite.
 */
#ifndef METRICS_TABLE_H
#define METRICS_TABLE_H

/* clang-format off */
#define METRICS_TABLE(X)                                                                           \
    /* connections */                                                                              \
    X(CONNECTIONS_OPENED, COUNTER, "connections", "connections_opened",                            \
      "Transport connections accepted.")                                                           \
    X(CONNECTIONS_CLOSED, COUNTER, "connections", "connections_closed",                            \
      "Transport connections that ended, for whatever reason.")                                    \
    X(CONNECTIONS_CURRENT, GAUGE, "connections", "connections_current",                            \
      "Connections whose CONNECT was accepted and that are still open.")                           \
    X(CONNECTS_ACCEPTED, COUNTER, "connections", "connects_accepted",                              \
      "CONNECT packets answered with success.")                                                    \
    X(CONNECTS_REFUSED, COUNTER, "connections", "connects_refused",                                \
      "CONNECT packets answered with an error or a close.")                                        \
    X(TAKEOVERS, COUNTER, "connections", "takeovers",                                              \
      "Connections closed because another one came with their client id.")                         \
    X(KEEP_ALIVE_TIMEOUTS, COUNTER, "connections", "keep_alive_timeouts",                          \
      "Connections closed after 1.5 keep alive intervals of silence.")                             \
    X(CONNECT_TIMEOUTS, COUNTER, "connections", "connect_timeouts",                                \
      "Connections closed because no CONNECT came within limits.connect_timeout.")                 \
    X(PROXY_HEADERS_REFUSED, COUNTER, "connections", "proxy_headers_refused",                      \
      "Connections closed because a header of the PROXY protocol was wrong or did not come in "    \
      "time.")                                                                                     \
    X(MALFORMED_PACKETS, COUNTER, "packets", "malformed_packets",                                  \
      "Packets that do not parse; each ends its connection.")                                      \
    X(PROTOCOL_ERRORS, COUNTER, "packets", "protocol_errors",                                      \
      "Packets that parse but may not come now or so; each ends its connection.")                  \
    /* sessions and subscriptions */                                                               \
    X(SESSIONS_CURRENT, GAUGE, "sessions", "sessions_current",                                     \
      "Sessions, connected or waiting for their client.")                                          \
    X(SESSIONS_EXPIRED, COUNTER, "sessions", "sessions_expired",                                   \
      "Sessions deleted because their session expiry interval passed.")                            \
    X(SUBSCRIPTIONS_CURRENT, GAUGE, "subscriptions", "subscriptions_current",                      \
      "Subscriptions of all sessions that are not shared.")                                        \
    X(SHARED_SUBSCRIPTIONS_CURRENT, GAUGE, "subscriptions", "shared_subscriptions_current",        \
      "Memberships in shared subscriptions.")                                                      \
    X(WILLS_PUBLISHED, COUNTER, "messages", "wills_published",                                     \
      "Will messages published.")                                                                  \
    X(CLUSTER_MEMBERS, GAUGE, "nodes", "cluster_members",                                          \
      "Other nodes of the cluster that are here.")                                                 \
    X(CLUSTER_MEMBERS_LOST, COUNTER, "nodes", "cluster_members_lost",                              \
      "Times that another node that was here went away.")                                          \
    X(CLUSTER_STALLS, COUNTER, "times", "cluster_stalls",                                          \
      "Times that this process did not run for more than a second, and its clients waited until "  \
      "other nodes had said what had happened.")                                                   \
    X(ROAD_BYTES_SENT, COUNTER, "bytes", "road_bytes_sent",                                        \
      "Bytes of publications that were sent on to other nodes.")                                   \
    X(ROAD_UNDER_WAY, GAUGE, "bytes", "road_under_way",                                            \
      "Of these, those that the other nodes have not worked off.")                                 \
    X(ROAD_PAUSES, COUNTER, "pauses", "road_pauses",                                               \
      "Times that a publisher waited because another node had more than 1 MiB to work off.")       \
    X(ROAD_ASKED, GAUGE, "messages", "road_asked",                                                 \
      "Publications that wait until another node says what has become of them there.")             \
    X(ROAD_UNANSWERED, COUNTER, "messages", "road_unanswered",                                     \
      "Such publications whose node was lost before it answered; they are sent again.")            \
    X(HOMES_CURRENT, GAUGE, "groups", "homes_current",                                             \
      "Groups of the cluster that this node is home of.")                                          \
    X(HOMES_CLAIMS, COUNTER, "groups", "homes_claims",                                             \
      "Groups that this node has claimed.")                                                        \
    X(HOMES_DEPOSED, COUNTER, "groups", "homes_deposed",                                           \
      "Groups, or claims to them, that were lost because another node claimed.")                   \
    X(HOMES_CHANGES, COUNTER, "claims", "homes_changes",                                           \
      "Claims of any node that were read in the changelogs.")                                      \
    X(ENGINE_CONNECTED, GAUGE, "connections", "engine_connected",                                  \
      "1: there is a connection to the cluster's engine.")                                         \
    X(ENGINE_STARTS, COUNTER, "processes", "engine_starts",                                        \
      "Times that this node's engine was started.")                                                \
    X(ENGINE_RESTS, COUNTER, "processes", "engine_rests",                                          \
      "Times that this node's engine was ended because no other node was heard, nor a server.")    \
    X(ENGINE_HANGS, COUNTER, "processes", "engine_hangs",                                          \
      "Times that this node's engine was killed because it answered nobody.")                      \
    X(HOMES_CLAIMED_VACANT, COUNTER, "groups", "homes_claimed_vacant",                             \
      "Groups that this node has claimed because they had no home.")                               \
    X(HOMES_CLAIMED_SILENT, COUNTER, "groups", "homes_claimed_silent",                             \
      "Groups that this node has claimed because their home had fallen silent.")                   \
    X(HOMES_GIVEN_UP_DRAINED, COUNTER, "groups", "homes_given_up_drained",                         \
      "Groups that this node has given up because it is drained.")                                 \
    X(HOMES_GIVEN_UP_PREFERRED, COUNTER, "groups", "homes_given_up_preferred",                     \
      "Groups that this node has given up because another one should be their home.")              \
    X(HOMES_GIVEN_UP_ENDING, COUNTER, "groups", "homes_given_up_ending",                           \
      "Groups that this node has given up because it ends.")                                       \
    X(HOMES_GIVEN_UP_UNFIT, COUNTER, "groups", "homes_given_up_unfit",                             \
      "Groups that this node has given up because it could not go on with them.")                  \
    X(HOMES_LOST_DEPOSED, COUNTER, "groups", "homes_lost_deposed",                                 \
      "Groups that this node led, or was loading, when another one claimed them.")                 \
    X(HOMES_LOST_BROKEN, COUNTER, "groups", "homes_lost_broken",                                   \
      "Groups that this node led, or was loading, and whose log does not fit its store.")          \
    X(HOMES_LEASES_OVER, COUNTER, "leases", "homes_leases_over",                                   \
      "Times that a group led here lost its lease: the engine had not answered for 1,500 ms, "     \
      "or another node had claimed it.")                                                           \
    X(HOMES_LEASE_AGE, GAUGE, "milliseconds", "homes_lease_age",                                   \
      "Of the groups led here the oldest lease: since what it rests on was sent.")                 \
    X(ENGINE_DISCONNECTS, COUNTER, "connections", "engine_disconnects",                            \
      "Times that the connection to the engine was lost.")                                         \
    X(ENGINE_COPIES_MISSING, GAUGE, "copies", "engine_copies_missing",                             \
      "Copies of changelogs that the engine is to have, and that are away or behind.")             \
    X(CHANGELOG_APPENDED, COUNTER, "batches", "changelog_appended",                                \
      "Batches appended to the changelogs.")                                                       \
    X(CHANGELOG_EMPTY, COUNTER, "records", "changelog_empty",                                      \
      "Empty records appended to the changelogs to keep leases.")                                  \
    X(CHANGELOG_RESENT, COUNTER, "records", "changelog_resent",                                    \
      "Records sent to a changelog again because no answer came.")                                 \
    X(CHANGELOG_REFUSED, COUNTER, "records", "changelog_refused",                                  \
      "Appends that a changelog refused because another record stood there.")                      \
    X(CHANGELOG_MENDED, COUNTER, "changelogs", "changelog_mended",                                \
      "Changelogs whose end the engine had lost, and that go on behind this node's store.")    \
    X(CHANGELOG_REPLAYED, COUNTER, "records", "changelog_replayed",                                \
      "Records that the engine had accepted and lost, and that this node appended again.")         \
    X(CHANGELOG_TAIL, GAUGE, "bytes", "changelog_tail",                                            \
      "Records that are kept in memory for that: at most 1 MiB a group.")                          \
    X(HOMES_WITHOUT_STANDBY, COUNTER, "batches", "homes_without_standby",                          \
      "Batches that were committed although no other node that was here had read them in time.")   \
    X(CHANGELOG_IN_FLIGHT, GAUGE, "records", "changelog_in_flight",                                \
      "Records that the engine was sent and has not answered: at most one a group.")               \
    X(CHANGELOG_WAIT, GAUGE, "milliseconds", "changelog_wait",                                     \
      "Of these the oldest: since it was sent first.")                                             \
    X(CHANGELOG_READ_LAG, GAUGE, "records", "changelog_read_lag",                                  \
      "Records that this node has to read yet, of the group led elsewhere that has most.")         \
    X(CHANGELOG_STANDBY_LAG, GAUGE, "records", "changelog_standby_lag",                            \
      "Records that the slowest other node has to apply yet, of the group led here that has "      \
      "most.")                                                                                     \
    X(COPIES_TAKEN, COUNTER, "groups", "copies_taken",                                             \
      "Groups of which a copy was taken from another node.")                                       \
    X(COPIES_FAILED, COUNTER, "groups", "copies_failed",                                           \
      "Copies that came to nothing; others are asked for.")                                        \
    X(COPIES_BYTES_TAKEN, COUNTER, "bytes", "copies_bytes_taken",                                  \
      "Bytes of records that came in copies.")                                                     \
    X(COPIES_GIVEN, COUNTER, "groups", "copies_given",                                             \
      "Copies of groups that other nodes have asked for here.")                                    \
    X(COPIES_BYTES_GIVEN, COUNTER, "bytes", "copies_bytes_given",                                  \
      "Bytes of records that were given in copies.")                                               \
    X(TUNNELS_EDGE, GAUGE, "connections", "tunnels_edge",                                          \
      "Connections of clients whose sessions live on other nodes: the transport is here.")         \
    X(TUNNELS_HOME, GAUGE, "connections", "tunnels_home",                                          \
      "Connections that other nodes hold for sessions that live here.")                            \
    X(TUNNELS_OPENED, COUNTER, "connections", "tunnels_opened",                                    \
      "Connections whose session turned out to live on another node.")                             \
    X(TUNNELS_HELD, COUNTER, "pauses", "tunnels_held",                                             \
      "Times that such a connection was not read because its home lagged or the link was full.")   \
    X(TUNNELS_ENDED_BY_CLIENT, COUNTER, "connections", "tunnels_ended_by_client",                  \
      "Such connections that the client ended, or whose transport broke.")                         \
    X(TUNNELS_ENDED_BY_HOME, COUNTER, "connections", "tunnels_ended_by_home",                      \
      "Such connections that the node with the session ended.")                                    \
    X(TUNNELS_ENDED_BY_LINK, COUNTER, "connections", "tunnels_ended_by_link",                      \
      "Such connections that ended because that node could not be reached.")                       \
    X(TUNNELS_ENDED_BY_DRAIN, COUNTER, "connections", "tunnels_ended_by_drain",                    \
      "Such connections that ended because the broker stops.")                                     \
    X(TUNNEL_BYTES_RECEIVED, COUNTER, "bytes", "tunnel_bytes_received",                            \
      "Bytes from clients that were passed on to other nodes.")                                    \
    X(TUNNEL_BYTES_SENT, COUNTER, "bytes", "tunnel_bytes_sent",                                    \
      "Bytes from other nodes that were passed on to clients.")                                    \
    /* traffic */                                                                                  \
    X(PACKETS_RECEIVED, COUNTER, "packets", "packets_received",                                    \
      "MQTT control packets of all types received.")                                               \
    X(PACKETS_SENT, COUNTER, "packets", "packets_sent",                                            \
      "MQTT control packets of all types sent.")                                                   \
    X(BYTES_RECEIVED, COUNTER, "bytes", "bytes_received",                                          \
      "Bytes of MQTT packets received.")                                                           \
    X(BYTES_SENT, COUNTER, "bytes", "bytes_sent",                                                  \
      "Bytes of MQTT packets sent.")                                                               \
    X(PUBLISH_RECEIVED, COUNTER, "messages", "publish_received",                                   \
      "PUBLISH packets received.")                                                                 \
    X(PUBLISH_RECEIVED_BYTES, COUNTER, "bytes", "publish_received_bytes",                          \
      "Payload bytes of the PUBLISH packets received.")                                            \
    X(PUBLISH_SENT, COUNTER, "messages", "publish_sent",                                           \
      "PUBLISH packets sent, resends included.")                                                   \
    X(PUBLISH_SENT_BYTES, COUNTER, "bytes", "publish_sent_bytes",                                  \
      "Payload bytes of the PUBLISH packets sent.")                                                \
    X(PUBLISH_FORWARDED, COUNTER, "messages", "publish_forwarded",                                 \
      "Messages sent to other nodes of the cluster, once for each node.")                          \
    X(ACKS_DELAYED, COUNTER, "packets", "acks_delayed",                                            \
      "Acknowledgements that had to wait for the store.")                                          \
    /* messages that a subscriber did not get, by reason */                                        \
    X(PUBLISH_DROPPED_QUEUE_FULL, COUNTER, "messages", "publish_dropped_queue_full",               \
      "Messages dropped because the session's queue held queue.messages_max.")                     \
    X(PUBLISH_DROPPED_QUEUE_BYTES_FULL, COUNTER, "messages", "publish_dropped_queue_bytes_full",   \
      "Messages dropped because the session's queue held queue.bytes_max.")                        \
    X(PUBLISH_DROPPED_QOS0_NOT_WRITABLE, COUNTER, "messages", "publish_dropped_qos0_not_writable", \
      "QoS 0 messages dropped because the subscriber did not read fast enough.")                   \
    X(PUBLISH_DROPPED_QOS0_OFFLINE, COUNTER, "messages", "publish_dropped_qos0_offline",           \
      "QoS 0 messages not kept for a subscriber that was away.")                                   \
    X(PUBLISH_DROPPED_EXPIRED, COUNTER, "messages", "publish_dropped_expired",                     \
      "Messages dropped because their message expiry interval passed.")                            \
    X(PUBLISH_DROPPED_PACKET_TOO_LARGE, COUNTER, "messages", "publish_dropped_packet_too_large",   \
      "Messages larger than the subscriber's maximum packet size.")                                \
    X(PUBLISH_DROPPED_SESSION_GONE, COUNTER, "messages", "publish_dropped_session_gone",           \
      "Messages that were waiting in a session when it was deleted.")                              \
    X(PUBLISH_DROPPED_NO_MEMORY, COUNTER, "messages", "publish_dropped_no_memory",                 \
      "Messages dropped because there was no memory to keep them.")                                \
    X(PUBLISH_DROPPED_NO_LINK, COUNTER, "messages", "publish_dropped_no_link",                     \
      "Messages for another node of the cluster that could not be reached.")                       \
    X(PUBLISH_AGAIN, COUNTER, "messages", "publish_again",                                         \
      "Times that a publication of QoS 1 waits because the home of some session has moved or "     \
      "is lost; it is routed anew and acknowledged then.")                                         \
    X(PUBLISH_AGAIN_LIMIT, COUNTER, "messages", "publish_again_limit",                             \
      "Such publications that were refused because too many wait already: 64 MiB a worker.")       \
    X(OUTBOX_PUT_OFF, COUNTER, "messages", "outbox_put_off",                                       \
      "Times that a message of an outbox did not get to all its subscribers' shards and waits.")   \
    X(OUTBOX_PUT_OFF_LIMIT, COUNTER, "messages", "outbox_put_off_limit",                           \
      "Messages that did not wait in memory because too many do: the next start delivers them.")   \
    X(OUTBOX_MARKS_LIMIT, COUNTER, "marks", "outbox_marks_limit",                                  \
      "Times that a shard had more messages of an outbox out of order than are remembered, 4,096 " \
      "of each other shard: an older one that comes later counts as having arrived before.")       \
    X(PUBLISH_DROPPED_QUEUES_FULL, COUNTER, "messages", "publish_dropped_queues_full",             \
      "Messages dropped because all queues together held queue.total_bytes_max.")                  \
    X(PUBLISH_DROPPED_STORE, COUNTER, "messages", "publish_dropped_store",                         \
      "Messages not kept because the store takes nothing: the disk is full or fails.")             \
    X(PUBLISH_DROPPED_DAMAGED, COUNTER, "messages", "publish_dropped_damaged",                     \
      "Messages of a queue that could not be read back from the disk.")                            \
    X(PUBLISHER_PAUSES, COUNTER, "pauses", "publisher_pauses",                                     \
      "Times that a publisher was not read from because its subscribers lagged.")                  \
    /* what is kept */                                                                             \
    X(RETAINED_COUNT, GAUGE, "messages", "retained_count",                                         \
      "Retained messages.")                                                                        \
    X(RETAINED_BYTES, GAUGE, "bytes", "retained_bytes",                                            \
      "Bytes of the retained messages: topics, properties and payloads.")                          \
    X(RETAINED_REFUSED, COUNTER, "messages", "retained_refused",                                   \
      "Messages delivered but not retained because of limits.retained_count or "                   \
      "limits.retained_bytes.")                                                                    \
    X(QUEUED_MESSAGES, GAUGE, "messages", "queued_messages",                                       \
      "Messages waiting in the queues of all sessions.")                                           \
    X(QUEUED_BYTES, GAUGE, "bytes", "queued_bytes",                                                \
      "Bytes of the messages in the queues of all sessions; a message in two queues counts "       \
      "twice.")                                                                                    \
    X(INFLIGHT_MESSAGES, GAUGE, "messages", "inflight_messages",                                   \
      "QoS 1 and 2 messages sent and not yet acknowledged.")                                       \
    X(STORE_COMMITS, COUNTER, "commits", "store_commits",                                          \
      "Batches of workers that the store has answered.")                                           \
    X(STORE_SYNCS, COUNTER, "commits", "store_syncs",                                              \
      "Those of them that were on the disk itself by then.")                                       \
    X(STORE_RECORDS, COUNTER, "records", "store_records",                                          \
      "Records in those batches.")                                                                 \
    X(STORE_BYTES, COUNTER, "bytes", "store_bytes",                                                \
      "Bytes of those records: keys, values and what is between them.")                            \
    X(STORE_SPARED, COUNTER, "records", "store_records_spared",                                    \
      "Records taken back before their commit and never written: most often because the "          \
      "subscriber had acknowledged.")                                                              \
    X(STORE_ERRORS, COUNTER, "errors", "store_errors",                                             \
      "Acknowledgements not given because the store could not keep what they promise.")            \
    /* limits that were hit */                                                                     \
    X(LIMIT_CONNECTIONS, COUNTER, "hits", "limit_connections",                                     \
      "Connections refused because of limits.connections.")                                        \
    X(LIMIT_TUNNELS, COUNTER, "hits", "limit_tunnels",                                             \
      "Connections refused because a link carries as many as it can.")                             \
    X(LIMIT_SESSIONS, COUNTER, "hits", "limit_sessions",                                           \
      "CONNECT packets refused because of limits.sessions.")                                       \
    X(LIMIT_SUBSCRIPTIONS, COUNTER, "hits", "limit_subscriptions",                                 \
      "Subscriptions refused because of limits.subscriptions_per_client.")                         \
    X(LIMIT_FILTER_LEVELS, COUNTER, "hits", "limit_filter_levels",                                 \
      "Topics and filters refused because of limits.filter_levels.")                               \
    X(LIMIT_CLIENT_ID, COUNTER, "hits", "limit_client_id",                                         \
      "CONNECT packets refused because of limits.client_id_bytes.")                                \
    X(LIMIT_PACKET_SIZE, COUNTER, "hits", "limit_packet_size",                                     \
      "Packets larger than limits.packet_bytes; each ends its connection.")                        \
    X(LIMIT_TOPIC, COUNTER, "hits", "limit_topic",                                                 \
      "Topics and filters refused because of limits.topic_bytes.")                                 \
    X(LIMIT_USER_PROPERTIES, COUNTER, "hits", "limit_user_properties",                             \
      "Packets refused because of limits.user_properties.")                                        \
    X(LIMIT_RECEIVE_MAXIMUM, COUNTER, "hits", "limit_receive_maximum",                             \
      "Connections closed because the client exceeded mqtt.receive_maximum.")                      \
    X(LIMIT_RETAINED, COUNTER, "hits", "limit_retained",                                           \
      "Publications that met limits.retained_count or limits.retained_bytes.")                     \
    X(LIMIT_MEMORY, COUNTER, "hits", "limit_memory",                                               \
      "Requests refused because of limits.memory_bytes.")

/* X(ID, unit, "name", "help"): distributions, kept in log-linear histograms. */
#define HISTOGRAMS_TABLE(X)                                                                        \
    X(TURN_NS, "nanoseconds", "loop_turn",                                                         \
      "Work of one event loop turn, without the wait.")                                            \
    X(COMMIT_NS, "nanoseconds", "store_commit",                                                    \
      "From the first record of a batch until the store has answered.")                            \
    X(TURN_CPU_NS, "nanoseconds", "loop_turn_cpu",                                                 \
      "CPU time of an event loop turn, at most: of turns that end 0.5 ms or more after the last "  \
      "one that is counted here.")
/* clang-format on */

#endif
