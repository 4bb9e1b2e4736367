import './whole.js'
import '../step/huggingface-kill.test.js'
