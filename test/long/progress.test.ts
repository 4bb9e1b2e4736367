import './whole.js'
import '../step/progress.test.js'
