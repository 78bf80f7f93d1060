"""Text that frames and events often hold: deflate writes a short reference instead of it.

Part of the format: it must never change while `FORMAT_VERSION` is 1. What is most frequent stands last.
"""

from __future__ import annotations

from typing import Final

_ROW: Final = (
    '"metadata":{"lettaCodeVersion":"0.34.12","nodeVersion":"v22.21.1","gitBranch":"main","workingDirectory":"/home/'
    '/Users/C:\\\\Users\\\\","os":"darwin","os":"win32","os":"linux","supported_commands":["clear","doctor","dream","init",'
    '"compact","reload","context-limit","upgrade-letta-code","toolset"],"self_update":{"supported":false,'
    '"writable":false,"reason":"managed by the sandbox image"},"self_update":{"supported":true,"writable":true,'
    '"install_path":"/usr/local/lib/node_modules/@letta-ai/letta-code",'
    '"manual_command":"npm install -g @letta-ai/letta-code@latest"},"environmentMessageProtocol":"v2-input",'
    '"supportsPairedListenerGenerations":true,"machine":{"architecture":"arm64","cpu":"Apple M2",'
    '"machine":{"architecture":"x64","cpu":"AMD Ryzen 9 7950X","memoryBytes":34359738368,"osName":"macOS",'
    '"osName":"Ubuntu","osVersion":"24.04.3 LTS"}}'
)
_EVENT: Final = (
    '{"kind":"together","of":"gone","kind":"appeared","reason":"twin of , same device","kind":"while blind",'
    '"kind":"version","before":"0.34.","after":"0.34.","kind":"branch","before":"feat/","kind":"changed",'
    '"field":"working_directory","kind":"returned","kind":"flapping","kind":"steady","kind":"mode","before":"standard",'
    '"after":"acceptEdits","after":"unrestricted","kind":"restarted","before":"conn-","kind":"reconnected",'
    '"before":"conn-","after":"conn-","lasted":1800000000,"since":17,"incident":"","kind":"offline",'
    '"before":"online","after":"offline","reason":"heartbeat lost (120 s)","lasted":,"kind":"online",'
    '"at":17,"id":"env-","name":"sandbox-agent-","before":"offline","after":"online","reason":"disconnected",'
    '"then":{"environment":{"id":"env-","name":"sandbox-agent-","device_id":"sandbox-agent-",'
    '"organization_id":"org-","first_seen_at":17,"last_seen_at":17,"connection_id":"conn-","connected_at":17,'
    '"last_heartbeat_at":17,"pod_id":"p-","listener_instance_id":"listen-","listener_instance_id":"server-",'
    '"api_key_owner":"user-","user_id":"user-","mode":"acceptEdits","mode":"standard",'
    + _ROW
    + ',"verdict":{"presence":"late","reason":"a ping was missed","is_up":true},"verdict":{"presence":"offline",'
    '"reason":"disconnected"},"is_flapping":true,"clock_suspect":true,"left_pod_id":"p-"},'
    '"verdict":{"presence":"online","reason":"beating","is_up":true}}}'
)
_FRAME: Final = (
    '"failure":{"cause":"unreachable","cause":"timeout","message":"","started":{"wall":17,"ended":{"wall":17,'
    '"interval":5000000},"failures":1,"hold":{"finding":{"anomaly":"many rows vanished at once","text":"",'
    '"since":,"missing":["env-"],"confirmed_absent":["env-"],"listings":2},"unseen_since":null,'
    '"stall_detector":{"silent_s":0.0,"is_stalled":true,"resumed_at":null},"set_aside":1,"set_aside_ids":["env-"],'
    '"in_doubt":["env-"],"periods":[["blind",17,["gone","no longer listed",false],["offline","no heartbeat",false],'
    '["offline","heartbeat lost",false],["late","a ping was missed",true],["offline","disconnected",false],'
    '["BACK",17,["NEW",17,["JOIN",17,["MODE",17,["VER",17,["CONN",17,["online","beating",true],"conn-,null,true,false,'
    '{"now":{"wall":17,"monotonic":},"fleet":{"listings":,"listed":{"wall":17,"monotonic":},"elapsed_ms":,'
    '"clock":[1,11],"snapshot":{"clock":[],"requests":11,"received":},"last_up":{"wall":17,"monotonic":}},'
    '"order":[[0,1],[-1,1]],"new":[],"nested":[],"acks":[],"beats":[[,1,1,false]],"rows":[[0,5,'
)
ZLIB_DICTIONARY: Final = (_EVENT + _FRAME).encode()
